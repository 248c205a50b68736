"""Merkle trees, windows, fork search, fee bumps: no database, no chain."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain import fork, merkle
from chain.sending import bumped
from chain.types import Fees
from chain.window import Window

# The test vectors of the certificate transparency reference implementation (RFC 6962/9162 share the tree).
INPUTS = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
ROOTS = {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}
LEAVES = [merkle.leaf_hash(bytes.fromhex(item)) for item in INPUTS]


@pytest.mark.parametrize(("count", "root"), ROOTS.items())
def test_known_roots(count, root):
    assert merkle.root(LEAVES[:count]).hex() == root


@given(count=st.integers(1, 70), data=st.data())
def test_every_leaf_has_a_proof_and_nothing_else_has(count, data):
    leaves = [sha256(bytes([number])).digest() for number in range(count)]
    root = merkle.root(leaves)
    index = data.draw(st.integers(0, count - 1))
    proof = merkle.inclusion_proof(leaves, index)
    assert merkle.verify(root=root, leaf=leaves[index], index=index, count=count, proof=proof)
    assert not merkle.verify(root=root, leaf=sha256(b"x").digest(), index=index, count=count, proof=proof)
    assert not merkle.verify(root=root, leaf=leaves[index], index=index, count=count, proof=[*proof, root])
    if proof:
        assert not merkle.verify(root=root, leaf=leaves[index], index=index, count=count, proof=proof[:-1])
        broken = [bytes([proof[0][0] ^ 1]) + proof[0][1:], *proof[1:]]
        assert not merkle.verify(root=root, leaf=leaves[index], index=index, count=count, proof=broken)
    other = data.draw(st.integers(0, count + 3))
    if other != index:
        assert not merkle.verify(root=root, leaf=leaves[index], index=other, count=count, proof=proof)


def test_a_tree_needs_leaves_of_32_bytes():
    for wrong in ([], [b"short"]):
        with pytest.raises(ValueError):
            merkle.root(wrong)


@pytest.mark.parametrize(("cap", "most"), [(1024, 250), (2000, 130), (10_000, 45)])
def test_a_capped_node_is_asked_few_times(cap, most):
    window, done, asked, refused = Window(1000, 50_000), 0, 0, 0
    while done < 200_000:
        size = min(window.size, 200_000 - done)
        asked += 1
        if size > cap:
            window.refused(size, 0.0)
            refused += 1
        else:
            window.accepted(size, 0.0)
            done += size
    assert asked <= most
    assert refused <= 12


def test_a_ceiling_is_forgotten_after_a_day():
    window = Window(1000, 50_000)
    window.refused(1000, now=0.0)
    assert window.limit(now=1.0) == 999
    assert window.limit(now=86_400.0) == 50_000


@pytest.mark.parametrize("at", [0, 5_000, 90_000])
def test_one_dense_stretch_does_not_make_all_others_small(at):
    """More logs than an answer may hold, in ten blocks of 100,000: single blocks there, large ranges elsewhere."""
    window, done, asked = Window(1000, 50_000), 0, 0
    while done < 100_000:
        size = min(window.size, 100_000 - done)
        asked += 1
        if size > 1 and done < at + 10 and done + size > at:
            window.refused(size, 0.0)
        else:
            window.accepted(size, 0.0)
            done += size
    assert asked <= 120


def test_one_block_stays_askable():
    window = Window(2, 10)
    for _ in range(5):
        window.refused(window.size, 0.0)
    assert window.size == 1 and window.limit(0.0) == 1


@given(length=st.integers(1, 40), depth=st.integers(0, 40), gone=st.integers(0, 10))
def test_the_ancestor_is_the_last_block_in_common(length, depth, gone):
    depth = min(depth, length)
    ours = {n: b"a%d" % n for n in range(length + 1)}
    theirs = {n: b"a%d" % n if n <= length - depth else b"b%d" % n for n in range(length + 1 - min(gone, length))}
    found = fork.common_ancestor(tip=length, floor=0, ours=ours.get, theirs=theirs.get)
    assert found == min(length - depth, len(theirs) - 1)
    if depth and length - depth < len(theirs) - 1:
        assert fork.common_ancestor(tip=length, floor=length - depth + 1, ours=ours.get, theirs=theirs.get) is None


def test_links_are_checked_in_order():
    assert fork.is_linked(b"0", [(b"1", b"0"), (b"2", b"1")])
    assert not fork.is_linked(b"0", [(b"1", b"0"), (b"2", b"0")])
    assert fork.is_linked(b"0", [])


@given(fee=st.integers(1, 10**12), tip=st.integers(0, 10**11))
def test_a_bump_is_an_eighth_at_least_and_never_beyond_the_cap(fee, tip):
    new = bumped(Fees(fee, tip, is_legacy=False), None, percent=12.5, most=10**12)
    if new is None:
        assert fee * 1.125 >= 10**12 - 1
    else:
        assert new.max_fee * 8 >= fee * 9 and new.max_fee <= 10**12
        assert new.priority_fee * 8 >= min(tip * 9, new.max_fee * 8)


def test_a_free_chain_has_nothing_to_bump():
    assert bumped(Fees(0, 0, is_legacy=True), Fees(0, 0, is_legacy=True), percent=12.5, most=10**12) is None


def test_a_closed_connection_reads_as_a_silent_node():
    """One thread may close the connections, at shutdown, while another one is about to ask."""
    from chain.conf import conf
    from chain.errors import RpcUnavailable
    from chain.rpc import Rpc

    rpc = Rpc(conf().chain("SUP"))
    rpc.close()
    with pytest.raises(RpcUnavailable):
        rpc.call("eth_chainId")
