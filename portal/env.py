"""The only reader of the process environment. Typed, and loud about a value it cannot read."""

import os
import secrets
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

_MISSING = object()


def _raw(name, default):
    value = os.environ.get(name, "")
    path = os.environ.get(f"{name}_FILE", "")
    if value and path:
        raise ImproperlyConfigured(f"Set {name} or {name}_FILE, not both.")
    if path:
        try:
            return Path(path).read_text().strip()
        except OSError as error:
            raise ImproperlyConfigured(f"{name}_FILE names a file that cannot be read: {error.strerror}.") from None
    if value:
        return value
    if default is _MISSING:
        raise ImproperlyConfigured(f"Set {name} (or {name}_FILE, the path of a file that holds it).")
    return default


def text(name, default=_MISSING):
    return _raw(name, default)


def boolean(name, default=_MISSING):
    value = _raw(name, default)
    if isinstance(value, bool) or value is None:
        return value
    if value in ("1", "true"):
        return True
    if value in ("0", "false"):
        return False
    raise ImproperlyConfigured(f"{name} must be 1, 0, true or false.")


def integer(name, default=_MISSING):
    value = _raw(name, default)
    if isinstance(value, int) or value is None:
        return value
    try:
        return int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number.") from None


def words(name, default=_MISSING):
    value = _raw(name, default)
    return value if isinstance(value, list) else [word.strip() for word in value.split(",") if word.strip()]


def path(name, default=_MISSING):
    return Path(_raw(name, default)).absolute()


def database(name, default):
    """A Django DATABASES entry from `postgresql://user:password@host:port/name?host=/socket/dir`."""
    value = _raw(name, "")
    if not value:
        return default
    url = urlsplit(value)
    if url.scheme not in ("postgresql", "postgres"):
        raise ImproperlyConfigured(f"{name} must start with postgresql://.")
    options = dict(parse_qsl(url.query))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(url.path.lstrip("/")),
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        "HOST": options.pop("host", url.hostname or ""),
        "PORT": str(options.pop("port", url.port or "")),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": options,
    }


def kept_secret(file):
    """A random secret that is made on first use and kept in `file`, readable by its owner only."""
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ImproperlyConfigured(f"The key file {file.name} cannot be read: {error.strerror}.") from None
    # Written beside and linked into place: of two processes that start together, both read the same secret.
    draft = file.with_name(f"{file.name}.{secrets.token_hex(6)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(secrets.token_hex(32))
    try:
        os.link(draft, file)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return file.read_text().strip()


def child(**changes):
    """The environment for a child process: ours, with changes; None removes a variable."""
    merged = {**os.environ, **{name: value for name, value in changes.items() if value is not None}}
    return {name: value for name, value in merged.items() if changes.get(name, value) is not None}


def default_settings(module):
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", module)
