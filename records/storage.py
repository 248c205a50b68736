"""Where ciphertext lives: files named by the SHA-256 of what they hold. Never sees plaintext."""

from __future__ import annotations

import errno
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from chain.failpoints import fp
from records.conf import conf
from records.errors import BlobMissing, StorageFull

_ADDRESS = re.compile(r"[0-9a-f]{64}")
_STAGING = re.compile(r"[0-9a-f]{32}")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def _full_is_clear() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull() from error
        raise


class Sealed(Protocol):
    """An open blob: positional reads, so that several ranges may share it."""

    size: int

    def read_at(self, offset: int, length: int) -> bytes: ...
    def close(self) -> None: ...


class BlobStore(Protocol):
    def stage(self) -> StagingFile: ...
    def put(self, staged: StagingFile, address: str) -> None: ...
    def open(self, address: str) -> Sealed: ...
    def open_staging(self, name: str) -> Sealed: ...
    def delete(self, address: str) -> None: ...
    def delete_staging(self, name: str) -> None: ...


class FileBlob:
    def __init__(self, path: Path) -> None:
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise BlobMissing() from error
        self.size = os.fstat(self._fd).st_size

    def read_at(self, offset: int, length: int) -> bytes:
        return os.pread(self._fd, length, offset)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> FileBlob:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class StagingFile:
    """Bytes on their way in. Gone unless somebody keeps it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        with _full_is_clear():
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        with _full_is_clear():
            while len(view):
                view = view[os.write(self._fd, view) :]

    def sync(self) -> None:
        """After this the bytes survive a power cut."""
        if self._fd >= 0:
            with _full_is_clear():
                os.fsync(self._fd)
                os.close(self._fd)
            self._fd = -1
            _sync_directory(self.path.parent)

    def abort(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self.path.unlink(missing_ok=True)


class FileBlobStore:
    """`blobs/ab/<sha256>` for what counts, `blobs/staging/<random>` for what is on its way."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._staging = root / "staging"
        self._staging.mkdir(parents=True, exist_ok=True, mode=0o700)

    def stage(self) -> StagingFile:
        return StagingFile(self._staging / secrets.token_hex(16))

    def put(self, staged: StagingFile, address: str) -> None:
        """Moves a finished file to its address: the content is on the disk before the name is."""
        staged.sync()
        fp("store.synced")
        target = self._path(address)
        if not target.parent.exists():
            with _full_is_clear():
                target.parent.mkdir(exist_ok=True, mode=0o700)
            _sync_directory(self.root)
        with _full_is_clear():
            os.rename(staged.path, target)
        fp("store.renamed")
        _sync_directory(target.parent)

    def open(self, address: str) -> FileBlob:
        return FileBlob(self._path(address))

    def open_staging(self, name: str) -> FileBlob:
        return FileBlob(self._staging_path(name))

    def exists(self, address: str) -> bool:
        return self._path(address).exists()

    def delete(self, address: str) -> None:
        self._path(address).unlink(missing_ok=True)

    def delete_staging(self, name: str) -> None:
        self._staging_path(name).unlink(missing_ok=True)

    def addresses(self) -> Iterator[tuple[str, float]]:
        """Every stored address with its time of writing."""
        for folder in self.root.iterdir():
            if len(folder.name) == 2:
                for path in folder.iterdir():
                    yield path.name, path.stat().st_mtime

    def staged(self) -> Iterator[tuple[str, float]]:
        for path in self._staging.iterdir():
            try:
                yield path.name, path.stat().st_mtime
            except FileNotFoundError:
                continue

    def scrub(self, *, known: Iterable[str], known_staging: Iterable[str], older_than_seconds: float) -> list[str]:
        """Deletes what no row names and nobody is still writing; returns the names."""
        before = time.time() - older_than_seconds
        keep, keep_staging, gone = set(known), set(known_staging), []
        for address, written_at in self.addresses():
            if address not in keep and written_at <= before:
                self.delete(address)
                gone.append(address)
        for name, written_at in self.staged():
            if name not in keep_staging and written_at <= before:
                self.delete_staging(name)
                gone.append(name)
        return gone

    def _path(self, address: str) -> Path:
        if not _ADDRESS.fullmatch(address):
            raise BlobMissing()
        return self.root / address[:2] / address

    def _staging_path(self, name: str) -> Path:
        if not _STAGING.fullmatch(name):
            raise BlobMissing()
        return self._staging / name


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


_stores: dict[Path, FileBlobStore] = {}


def blob_store() -> FileBlobStore:
    root = conf().blob_dir
    store = _stores.get(root)
    if store is None:
        store = _stores[root] = FileBlobStore(root)
    return store
