"""Nothing personal on chain (O5): a whole story is scanned, and each planted leak is found."""

from collections import defaultdict

import pytest

from chain.artefacts import deployment
from chain.codec import function
from tests.campaigns.privacy import inputs, known, plants
from tests.campaigns.privacy.chainread import Blind, ChainReader, questions_seen
from tests.campaigns.privacy.public import Public
from tests.campaigns.privacy.scanner import Scanner, same_salts, scan
from tests.chain_fixtures import Anvil

pytestmark = pytest.mark.scenario("O5")


@pytest.mark.django_db(transaction=True)
@pytest.mark.campaign
def test_a_whole_story_gives_nothing_away_and_every_planted_leak_is_found(story, read, campaign, questions):
    run = campaign("privacy", small=30, ci=400, night=10_000)
    depth = known.QUICK if run.size == "small" else known.THOROUGH
    begins = {name: anvil.head for name, anvil in story.chains.items()}
    story.tell()
    asked = questions_seen(questions)
    public = Public(story.chains)
    knowns = [item for item in (*inputs.stored(), *inputs.opened(), *story.inputs) if not public.is_known(item)]
    planters = [plants.Planter(node, story.hospitals["c"].account_address) for node in story.chains.values()]
    planted = {}
    for index, rng in run:
        make = plants.CONTENTS[index % len(plants.CONTENTS)]
        places = [place for place in plants.PLACES if place not in plants.NOT_FOR.get(make.__name__, ())]
        place = places[(index + index // len(plants.CONTENTS) * 5) % len(places)]
        data, expected, words = make(rng, story, knowns)
        planter = rng.choice(planters)
        hashes = [planter.plant(data, place, rng) for _ in range(2 if "repeated" in expected else 1)]
        planted[index] = (set(hashes), expected, f"{words} in the {place.replace('_', ' ')}")
        if expected:
            run.injected(f"{make.__name__} in {place}")
    seen, counts = read()
    seen += inputs.leaves()
    leaks, compared = scan(seen, knowns, public, depth=depth, is_setup=lambda item: item.block <= begins[item.chain])
    run.note(known=len(knowns), compared=compared, chains=counts, steps=story.steps)
    run.finish()  # once more, now with the figures of the scan
    found = defaultdict(set)
    for leak in leaks:
        found[leak.seen.tx].add(leak.kind)
    # The nodes were asked more than stands on the chains, and only MEDchain's heard of a person: who may read what.
    told = Scanner(asked)
    heard = {(leak.seen.chain, leak.seen.place) for leak in told.known_values(knowns) + told.hashes(knowns)}
    is_authorised = function("Consents", "isAuthorised").selector.hex()
    assert heard == {("MED", f"eth_call {is_authorised}")}, sorted(heard)
    # What Robin hides leaves two leaves in the log like any others, and nothing else anywhere.
    logs = "0x" + deployment("MED")["AccessLog"].address.hex()
    while_hiding = [item for item in seen if item.tx and _is_between(item, story.hidden[item.chain])]
    assert {(item.chain, item.to) for item in while_hiding} == {("MED", logs)}
    added = [item for item in while_hiding if item.place == "event data"]
    assert sum(int.from_bytes(item.data[64:96]) for item in added) == 2
    own = set().union(*(hashes for hashes, _, _ in planted.values()))
    # The story first: it gives nothing away, and there was something to see.
    given_away = [str(leak) for leak in leaks if leak.seen.tx not in own]
    assert not given_away, "\n".join(given_away)
    assert same_salts(inputs.salts()) == []
    assert len(knowns) > 500 and compared > 100_000
    for figures in counts.values():
        assert min(figures[name] for name in ("transactions", "events", "storage writes", "failed transactions")) > 0
    assert len(story.steps) == 12
    for index, (hashes, expected, words) in planted.items():
        run.index = index
        kinds = set().union(*(found[tx_hash] for tx_hash in hashes))
        assert bool(kinds & expected) == bool(expected), f"{words}: found {kinds or 'nothing'}"
        assert expected or not kinds, f"{words} is no leak, and the scanner says {kinds}"


def _is_between(item, blocks):
    return blocks[0] <= item.block <= blocks[1]


def test_contents_are_named_as_ipfs_names_them():
    names = dict(known.cids(b"hello world\n"))
    assert names["CIDv0 of the file"] == "QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o"
    assert dict(known.cids(b""))["CID of the raw"] == "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"


def test_one_salt_for_two_commitments_is_found():
    (leak,) = same_salts([("entry 1", b"\1" * 32), ("entry 2", b"\2" * 32), ("entry 3", b"\1" * 32)])
    assert "entry 1 and entry 3" in leak.what


def test_a_node_that_traces_no_steps_still_shows_what_was_kept(chains, tmp_path):
    node = Anvil("SUP", 31399, tmp_path).start()
    try:
        account = node.rpc("eth_accounts")[0]
        planter = plants.Planter(node, bytes.fromhex(account[2:]))
        secret = b"Robin Valebrook, born in 1979, was here"
        planter.plant(secret, "storage", __import__("random").Random(1))
        reader = ChainReader("SUP", node.url)
        rows = {item.data for item in reader.read() if item.place == "storage values in a row"}
        assert {row.rstrip(b"\0") for row in rows} == {secret}
        with pytest.raises(Blind):
            reader.call("debug_noSuchThing")
        reader.close()
    finally:
        node.stop()
