"""Named places at which a test may stop this process. Unarmed, a call looks at one variable and returns."""

from collections.abc import Callable

_hook: Callable[[str], None] | None = None


def fp(name: str) -> None:
    """Here a process may die: whatever was committed before stands, whatever comes after never happened."""
    if _hook is not None:
        _hook(name)


def arm(hook: Callable[[str], None] | None) -> None:
    """Calls `hook` with the name of every place reached from now on; None disarms."""
    global _hook
    _hook = hook
