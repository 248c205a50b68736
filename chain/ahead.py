"""The next range is asked for while the last one is being written, so that node and database work at the same time."""

import threading
from collections.abc import Callable
from typing import Any


class Ahead:
    """One question under way at most; whoever wants something else simply asks again."""

    def __init__(self, fetch: Callable[[int, int], Any]) -> None:
        self.fetch = fetch
        self._asked: _Question | None = None

    def ask(self, first: int, last: int) -> None:
        self._asked = _Question(self.fetch, first, last)
        # A thread each time, not a pool: nothing is left over in a process that was forked meanwhile.
        threading.Thread(target=self._asked.run, name="ahead", daemon=True).start()

    def take(self, first: int, last: int) -> Any:
        """The answer for this range; raises what fetching it raised."""
        asked, self._asked = self._asked, None
        if asked is None or (asked.first, asked.last) != (first, last):
            return self.fetch(first, last)
        return asked.answer()


class _Question:
    def __init__(self, fetch: Callable[[int, int], Any], first: int, last: int) -> None:
        self.fetch, self.first, self.last = fetch, first, last
        self._found: Any = None
        self._error: Exception | None = None
        self._is_done = threading.Event()

    def run(self) -> None:
        try:
            self._found = self.fetch(self.first, self.last)
        except Exception as error:  # noqa: BLE001 - raised again where the answer is taken
            self._error = error
        finally:
            self._is_done.set()

    def answer(self) -> Any:
        self._is_done.wait()
        if self._error is not None:
            raise self._error
        return self._found
