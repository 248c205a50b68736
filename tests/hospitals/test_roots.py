"""The root key: made once, never twice, and each trouble with it told in one sentence."""

import base64
import os
import stat

import pytest

from hospitals import checks, keyring, roots, sealing
from hospitals.errors import RootKeyError
from hospitals.models import KekVersion


@pytest.fixture
def root_file(settings, tmp_path):
    path = tmp_path / "keys with space" / "root.key"
    settings.HOSPITALS = {**settings.HOSPITALS, "root": "file", "root_key_file": path}
    keyring.forget()
    yield path
    keyring.forget()


def test_the_first_start_makes_it(db, root_file):
    sealing.current_kek(None)
    assert stat.S_IMODE(root_file.stat().st_mode) == 0o600
    assert len(root_file.read_bytes()) == 32
    assert [path.name for path in root_file.parent.iterdir()] == ["root.key"]
    before = root_file.read_bytes()
    sealing.kek_create(None)
    assert root_file.read_bytes() == before


def test_a_missing_file_is_never_replaced(db, root_file):
    sealing.current_kek(None)
    root_file.unlink()
    keyring.forget()
    for use in (lambda: sealing.current_kek(None), lambda: sealing.kek_create(None)):
        with pytest.raises(RootKeyError, match="is missing, and the database holds keys"):
            use()
    assert not root_file.exists()
    problems = checks.root_key_fits(None, databases=["default"])
    assert [problem.id for problem in problems] == ["hospitals.E002"]
    assert "root.key" in problems[0].msg


def test_another_root_is_told(db, root_file):
    sealing.current_kek(None)
    root_file.write_bytes(os.urandom(32))
    keyring.forget()
    with pytest.raises(RootKeyError, match="not the one they were made with"):
        sealing.current_kek(None)


def test_a_file_open_to_others_is_refused(db, root_file):
    sealing.current_kek(None)
    root_file.chmod(0o640)
    keyring.forget()
    with pytest.raises(RootKeyError, match="chmod 600"):
        sealing.current_kek(None)


def test_a_cut_file_is_told(db, root_file):
    sealing.current_kek(None)
    root_file.write_bytes(b"short")
    keyring.forget()
    with pytest.raises(RootKeyError, match="5 bytes instead of 32"):
        sealing.current_kek(None)


def test_an_unreadable_place_is_told(db, root_file):
    root_file.parent.parent.joinpath("keys with space").write_text("a file where the folder should be")
    with pytest.raises(RootKeyError, match="cannot be (read|written)"):
        sealing.current_kek(None)
    assert KekVersion.objects.count() == 0


def test_a_directory_instead_of_a_file_is_told(db, root_file):
    root_file.mkdir(parents=True, mode=0o700)
    with pytest.raises(RootKeyError, match="cannot be read"):
        sealing.current_kek(None)


def test_the_environment_is_for_development_only(settings):
    text = base64.b64encode(bytes(range(32))).decode()
    settings.HOSPITALS = {"root": "env", "root_key": text}
    settings.DEBUG = False
    with pytest.raises(RootKeyError, match="only for development"):
        roots.root(has_keys=False)
    settings.DEBUG = True
    root = roots.root(has_keys=True)
    assert root.unwrap("id", root.wrap("id", b"plain", b"aad"), b"aad") == b"plain"
    settings.HOSPITALS = {"root": "env", "root_key": "nonsense"}
    with pytest.raises(RootKeyError, match="base64 of 32 bytes"):
        roots.root(has_keys=True)


def test_wraps_are_bound_to_their_place(root_file):
    root = roots.root(has_keys=False)
    blob = root.wrap("kek/a", b"plain", b"1")
    for key_id, aad in (("kek/b", b"1"), ("kek/a", b"2")):
        with pytest.raises(RootKeyError):
            root.unwrap(key_id, blob, aad)


def test_unknown_provider_is_told(settings):
    settings.HOSPITALS = {"root": "magic"}
    with pytest.raises(RootKeyError, match="must be 'file' or 'env'"):
        roots.root(has_keys=False)
