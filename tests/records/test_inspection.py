"""Every kind of file is known by its bytes; every hostile one is refused with what to do next."""

import io
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from records.conf import Conf
from records.formats import inspect
from records.inspection import HEAD_BYTES, Refusal, head_check, name_check
from tests.records.files import AT_THE_DOOR, GOOD, HELD_BACK, MEDIA, archive, bomb

CONF = Conf(blob_dir=Path("unused"))


def look(name, data):
    return inspect(name=name, stream=io.BytesIO(data), size=len(data), conf=CONF)


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.scenario("D12")
def test_real_files_are_accepted(name):
    finding = look(name, GOOD[name])
    assert finding.media_type == MEDIA.get(name, finding.media_type)


@pytest.mark.parametrize(("name", "data", "code"), AT_THE_DOOR, ids=lambda v: ascii(v)[:20])
@pytest.mark.scenario("D13")
def test_the_door_refuses_by_name_and_first_bytes(name, data, code):
    with pytest.raises(Refusal) as refused:
        head_check(name_check(name), data[:HEAD_BYTES])
    assert refused.value.code == code
    assert len(refused.value.text) > 30 and refused.value.text.endswith(".")


@pytest.mark.parametrize(("name", "data", "code"), HELD_BACK, ids=lambda v: ascii(v)[:20])
@pytest.mark.scenario("D13")
def test_the_worker_holds_back_what_only_the_whole_file_shows(name, data, code):
    with pytest.raises(Refusal) as refused:
        look(name, data)
    assert refused.value.code == code
    assert refused.value.text.endswith(".")


def test_a_tiff_preamble_is_a_legal_dicom_file():
    from tests.records.files import dicom

    assert look("slice.dcm", dicom(preamble=b"II*\0")).media_type == "application/dicom"


def test_a_bomb_is_not_unpacked():
    data = bomb(100)
    tracemalloc.start()
    with pytest.raises(Refusal):
        look("bomb.zip", data)
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def test_many_entries_are_refused():
    with pytest.raises(Refusal) as refused:
        look("many.zip", archive({f"{n}.txt": b"" for n in range(10_001)}))
    assert refused.value.code == "zip_bomb"


@settings(deadline=None)
@given(st.text(max_size=300))
def test_a_name_is_kept_as_it_is_or_refused(name):
    try:
        kept = name_check(name)
    except Refusal:
        return
    assert "/" not in kept and "\\" not in kept and "\0" not in kept and kept not in ("", ".", "..")
    assert len(kept.encode()) <= 3 * 255


@settings(deadline=None)
@given(st.binary(max_size=6_000))
def test_any_bytes_give_a_finding_or_a_refusal(data):
    for name in ("a.pdf", "a.png", "a.jpg", "a.dcm", "a.json", "a.xml", "a.hl7", "a.csv", "a.txt", "a.zip"):
        try:
            look(name, data)
        except Refusal:
            continue


@pytest.mark.parametrize("name", [name for name in GOOD if name not in ("note.txt", "pressure.csv")])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_damaged_files_never_crash_the_inspector(name, data):
    content = bytearray(GOOD[name])
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(1, len(content)))
    try:
        look(name, bytes(content[:cut]))
    except Refusal:
        return
