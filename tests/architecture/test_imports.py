"""Which module may import which. An `ast` walk over the sources, so it sees imports inside functions too."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ["chain", "hospitals", "records", "portal"]  # each may import those to its left
SOURCES = [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py")) if "static_root" not in path.parts]


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers(package, allowed):
    return [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if any(name.split(".")[0] == package for name in imports_of(path))
        and not str(path.relative_to(ROOT)).startswith(allowed)
    ]


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_go_one_way(layer):
    above = set(LAYERS[LAYERS.index(layer) + 1 :])
    # The typed readers of the environment are the one thing that lower layers could want; settings give them values.
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in SOURCES
        if path.relative_to(ROOT).parts[0] == layer
        for name in imports_of(path)
        if name.split(".")[0] in above
    ]
    assert wrong == []


def test_only_the_gateway_imports_web3():
    assert importers("web3", ("chain/gateway.py",)) == []


def test_only_verification_imports_ecdsa():
    assert importers("ecdsa", ("records/verification/",)) == []


def test_only_env_reads_the_environment():
    wrong = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if path != ROOT / "portal" / "env.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "environb")
    ]
    # The offline checker runs without this project and takes its node's address as others' tools do.
    assert [path for path in wrong if path != "records/verification/verify_receipt.py"] == []


def test_no_catch_all_modules_and_no_signals():
    names = [path for path in SOURCES if path.stem in ("utils", "common", "helpers", "misc", "signals")]
    assert names == []


def test_modules_stay_readable():
    long = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: lines for name, lines in long.items() if lines > 420 and "migrations" not in name} == {}


def test_nothing_is_unfinished():
    words = ("TO" + "DO", "FIX" + "ME", "NotImplemented" + "Error")
    assert [str(path.relative_to(ROOT)) for path in SOURCES if any(word in path.read_text() for word in words)] == []
