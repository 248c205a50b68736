"""How bytes leave over HTTP."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from records.delivery import NOWHERE, parse_range, safe_name
from records.errors import RangeNotSatisfiable
from records.gate import Release


def narrowed(size: int, start: int | None, end: int | None) -> tuple[int, int]:
    whole = Release("text/plain", "a.txt", size, 0, size, "e", "own", lambda *_: iter(()), lambda: None)
    part = whole.narrow(start, end)
    return part.start, part.end


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (None, (None, None)),
        ("", (None, None)),
        ("bytes=0-0", (0, 1)),
        ("bytes=0-499", (0, 500)),
        ("bytes=500-", (500, None)),
        ("bytes=-500", (-500, None)),
        ("bytes=-0", (NOWHERE, None)),
        ("bytes=5-4", (None, None)),
        ("bytes=0-1,3-4", (None, None)),
        ("items=0-1", (None, None)),
        ("bytes=a-b", (None, None)),
        ("bytes=", (None, None)),
        ("bytes=-", (None, None)),
        ("bytes=\u0661-\u0662", (None, None)),
        ("bytes=99999999999999999999-", (None, None)),
    ],
)
def test_ranges_are_read_as_the_standard_says(header, wanted):
    assert parse_range(header) == wanted


@settings(deadline=None)
@given(st.integers(1, 50), st.integers(0, 60), st.integers(0, 60))
def test_a_range_is_the_slice_it_names(size, first, last):
    data = bytes(range(size))
    start, end = parse_range(f"bytes={first}-{last}")
    if last < first:
        assert (start, end) == (None, None)
    elif first >= size:
        with pytest.raises(RangeNotSatisfiable):
            narrowed(size, start, end)
    else:
        left, right = narrowed(size, start, end)
        assert data[left:right] == data[first : last + 1]


@settings(deadline=None)
@given(st.integers(1, 50), st.integers(0, 60))
def test_a_suffix_is_the_end_of_the_file(size, count):
    start, end = parse_range(f"bytes=-{count}")
    if count == 0:
        with pytest.raises(RangeNotSatisfiable):
            narrowed(size, start, end)
    else:
        left, right = narrowed(size, start, end)
        assert (right, right - left) == (size, min(size, count))


@pytest.mark.parametrize("name", ["a\r\nX: y", "../../etc/passwd", "a\u202egpj.exe", "\u2066x", "", ".", "x" * 999])
def test_names_cannot_break_a_header_or_deceive(name):
    safe = safe_name(name)
    assert safe and len(safe) <= 200
    assert not set(safe) & set("\r\n\u202e\u2066/\\\0")
