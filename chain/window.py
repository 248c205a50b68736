"""How many blocks one log query may span: grows until the node objects, and remembers where it did."""

from dataclasses import dataclass

FORGET_SECONDS = 86_400


@dataclass
class Window:
    size: int
    maximum: int
    ceiling: int | None = None  # the smallest size that was refused
    ceiling_at: float = 0.0

    def limit(self, now: float) -> int:
        """The largest size worth asking for now."""
        if self.ceiling is not None and now - self.ceiling_at >= FORGET_SECONDS:
            self.ceiling = None
        return self.maximum if self.ceiling is None else max(1, min(self.maximum, self.ceiling - 1))

    def accepted(self, asked: int, now: float) -> None:
        """Doubles below an unknown ceiling, goes half the way towards a known one."""
        if asked < self.size:
            return
        limit = self.limit(now)
        if self.ceiling is None:
            self.size = min(limit, self.size * 2)
        else:
            self.size = min(limit, self.size + max(1, (limit - self.size) // 2)) if self.size < limit else limit

    def refused(self, asked: int, now: float) -> None:
        self.ceiling = asked if self.ceiling is None else min(self.ceiling, asked)
        self.ceiling = max(2, self.ceiling)
        self.ceiling_at = now
        self.size = max(1, asked // 2)
