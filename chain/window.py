"""How many blocks one log query may span: grows until the node objects, and remembers where it did.

A node objects to many blocks, and that limit stays; or to many logs in these blocks, and that is over a few blocks
later. Which it was, only a try shows: one larger query after some good ones, and twice as many good ones after each
try in vain.
"""

from dataclasses import dataclass

FORGET_SECONDS = 86_400
PATIENCE = 8
PATIENCE_MOST = 4096


@dataclass
class Window:
    size: int
    maximum: int
    ceiling: int | None = None  # the smallest size that was refused
    ceiling_at: float = 0.0
    doubted: int | None = None  # the ceiling beyond which the next query tries
    good: int = 0  # queries answered in a row at the limit
    patience: int = PATIENCE

    def limit(self, now: float) -> int:
        """The largest size worth asking for now."""
        if self.ceiling is not None and now - self.ceiling_at >= FORGET_SECONDS:
            self.ceiling = None
        return self.maximum if self.ceiling is None else max(1, min(self.maximum, self.ceiling - 1))

    def accepted(self, asked: int, now: float) -> None:
        """Doubles below an unknown ceiling, goes half the way towards a known one, and looks beyond it at times."""
        if asked < self.size:
            return
        if self.doubted is not None and asked >= self.doubted:
            self.doubted, self.patience = None, PATIENCE
        limit = self.limit(now)
        if self.ceiling is None:
            self.size = min(limit, self.size * 2)
        elif self.size < limit:
            self.size = min(limit, self.size + max(1, (limit - self.size) // 2))
        else:
            self.size, self.good = limit, self.good + 1
            if self.good >= self.patience and limit < self.maximum:
                self.doubted, self.ceiling, self.good = self.ceiling, None, 0
                self.size = min(self.maximum, self.size * 2)

    def refused(self, asked: int, now: float) -> None:
        self.good = 0
        self.ceiling_at = now
        if self.doubted is not None:
            self.ceiling, self.doubted = min(self.doubted, max(2, asked)), None
            self.patience = min(PATIENCE_MOST, 2 * self.patience)
            self.size = max(1, self.ceiling - 1)
            return
        self.ceiling = max(2, asked if self.ceiling is None else min(self.ceiling, asked))
        self.size = max(1, asked // 2)
