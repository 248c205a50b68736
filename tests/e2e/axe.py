"""axe-core on a page: WCAG 2.2 A and AA and best practice, no violation, no sideways scroll."""

from functools import cache

from django.conf import settings

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@cache
def source() -> str:
    return (settings.BASE_DIR / "node_modules" / "axe-core" / "axe.min.js").read_text()


def violations(page) -> list[str]:
    # Through the debugger: the page's own content security policy refuses scripts that we would add.
    session = page.context.new_cdp_session(getattr(page, "page", page))
    session.send("Runtime.evaluate", {"expression": source()})
    found = page.evaluate("rules => axe.run(document, {runOnly: rules})", RULES)["violations"]
    return [f"{v['id']}: {node['html'][:160]}" for v in found for node in v["nodes"]]


def overflow(page) -> int:
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def assert_accessible(page) -> None:
    assert violations(page) == [], page.url
    assert overflow(page) <= 0, f"{page.url} scrolls sideways by {overflow(page)} px"
