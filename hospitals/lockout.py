"""Ten wrong tries close one door for fifteen minutes, and the person is told until when."""

import hashlib
import time
from datetime import UTC, datetime

from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext as _

TRIES = 10
SECONDS = 15 * 60


def check(door: str) -> None:
    """Raises while the door is closed. The same for known and unknown people, so it tells nothing about either."""
    until = cache.get(_key("until", door))
    if until and until > time.time():
        raise _closed(until)


def failed(door: str) -> None:
    """Counts one wrong try; the tenth closes the door and says so."""
    key = _key("tries", door)
    cache.add(key, 0, SECONDS)
    if cache.incr(key) >= TRIES:
        until = int(time.time()) + SECONDS
        cache.set(_key("until", door), until, SECONDS)
        cache.delete(key)
        raise _closed(until)


def opened(door: str) -> None:
    cache.delete(_key("tries", door))


def _key(name: str, door: str) -> str:
    # An address is a person's datum: the cache holds its digest only.
    return f"lockout:{name}:{hashlib.sha256(door.encode()).hexdigest()[:40]}"


def _closed(until: int) -> ValidationError:
    minutes = max(1, -(-(until - int(time.time())) // 60))
    clock = timezone.localtime(datetime.fromtimestamp(until, UTC)).strftime("%H:%M %Z")
    return ValidationError(
        _("Too many wrong tries. This is locked for %(minutes)s minutes, until %(clock)s.")
        % {"minutes": minutes, "clock": clock},
        code="locked",
    )
