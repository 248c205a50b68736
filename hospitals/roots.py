"""Root providers: the one key above all others, behind one interface (file, environment; HSM and KMS fit it too)."""

import base64
import binascii
import contextlib
import os
import secrets
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

from hospitals.conf import conf
from hospitals.errors import RootKeyError

KEY_BYTES = 32


class RootProvider(Protocol):
    def wrap(self, key_id: str, plaintext: bytes, aad: bytes) -> bytes: ...

    def unwrap(self, key_id: str, blob: bytes, aad: bytes) -> bytes: ...


class _LocalRoot:
    """A root key in this process's memory; subclasses know where it comes from."""

    def __init__(self, key: bytes):
        self._cipher = AESGCM(key)

    def wrap(self, key_id: str, plaintext: bytes, aad: bytes) -> bytes:
        aead_nonce = secrets.token_bytes(12)
        return aead_nonce + self._cipher.encrypt(aead_nonce, plaintext, key_id.encode() + b"\0" + aad)

    def unwrap(self, key_id: str, blob: bytes, aad: bytes) -> bytes:
        try:
            return self._cipher.decrypt(blob[:12], blob[12:], key_id.encode() + b"\0" + aad)
        except InvalidTag:
            raise RootKeyError(
                "The root key does not open the stored keys: it is not the one they were made with. "
                "Put the right root key back from its backup."
            ) from None


class FileRoot(_LocalRoot):
    """A 0600 file. It is made on the first start only, never when keys already exist."""

    def __init__(self, path: Path, *, has_keys: bool):
        super().__init__(self._read(path, has_keys))

    @classmethod
    def _read(cls, path: Path, has_keys: bool) -> bytes:
        try:
            mode = path.stat().st_mode & 0o777
            if mode & 0o077:
                raise RootKeyError(f"The root key file {path} is open to others (mode {mode:o}). Run: chmod 600 {path}")
            key = path.read_bytes()
        except FileNotFoundError:
            if has_keys:
                raise RootKeyError(
                    f"The root key file {path} is missing, and the database holds keys sealed under it. "
                    "Put it back from its backup; a new one would open nothing."
                ) from None
            return cls._create(path)
        except OSError as error:
            raise RootKeyError(f"The root key file {path} cannot be read: {error.strerror}.") from None
        if len(key) != KEY_BYTES:
            raise RootKeyError(f"The root key file {path} holds {len(key)} bytes instead of {KEY_BYTES}.")
        return key

    @classmethod
    def _create(cls, path: Path) -> bytes:
        """Complete before it is visible, and the first of two processes wins."""
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
            folder = os.open(path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        except OSError as error:
            raise RootKeyError(f"The root key file {path} cannot be written: {error.strerror}.") from None
        finally:
            draft.unlink(missing_ok=True)
        return path.read_bytes()


class EnvRoot(_LocalRoot):
    """From the environment, for development: a process list is no place for a production root."""

    def __init__(self, text: str):
        if not settings.DEBUG:
            raise RootKeyError("A root key from the environment is only for development (DEBUG).")
        try:
            key = base64.b64decode(text, validate=True)
        except binascii.Error:
            key = b""
        if len(key) != KEY_BYTES:
            raise RootKeyError(f"The root key in the environment must be base64 of {KEY_BYTES} bytes.")
        super().__init__(key)


def root(*, has_keys: bool) -> RootProvider:
    """The configured provider. `has_keys`: the database already holds keys under it."""
    settings_ = conf()
    if settings_.root == "file":
        return FileRoot(settings_.root_path, has_keys=has_keys)
    if settings_.root == "env":
        return EnvRoot(settings_.root_key)
    raise RootKeyError(f"HOSPITALS['root'] is {settings_.root!r}; it must be 'file' or 'env'.")
