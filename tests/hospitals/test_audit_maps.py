"""The map of all lines: anchored on both chains, proven to each patient, and no way to show a shorter list later."""

import json
import random
from datetime import timedelta

import pytest
from django.utils import timezone

from chain.gateway import gateway
from chain.models import OutboxItem
from hospitals import audit, audit_map, audit_maps, log_export
from hospitals.actors import Actor
from hospitals.models import AuditEntry, AuditLine, AuditMap
from hospitals.tenancy import tenant
from hospitals.types import OrganisationStatus
from records.verification import verify_receipt as checker
from tests.records.conftest import blobs, cast, made, send, settle, work  # noqa: F401  fixtures
from tests.records.logs import reissue

pytestmark = [pytest.mark.chain, pytest.mark.scenario("P7")]


def look(cast, times=3, patient=None):  # noqa: F811
    for _ in range(times):
        patient = patient or cast.pat_a
        audit.append(hospital=cast.a, actor=cast.actor(cast.alice), action="records.opened", patient=patient)


def export(cast):  # noqa: F811
    return log_export.export(actor=Actor(cast.pat), patient=cast.pat_a)


@pytest.fixture
def counted(cast, drive):  # noqa: F811
    """Call it to let the log grow and have it counted; returns the map."""

    def run(times=3):
        look(cast, times)
        drive()
        made_map = audit_maps.map_make(cast.a)
        drive()
        return made_map

    return run


def test_a_map_is_anchored_on_both_chains_and_names_the_one_before(cast, counted):  # noqa: F811
    first, second = counted(), counted()
    assert (first.number, second.number) == (1, 2)
    assert (bytes(first.previous), bytes(second.previous)) == (bytes(32), bytes(first.head))
    assert (first.seq, second.seq, first.lines) == (3, 6, 2)
    for chain in ("MED", "SUP"):
        item = OutboxItem.objects.get(ref=second.ref(chain))
        assert (item.state, bytes(item.leaf)) == ("final", bytes(second.head))
        held = gateway(chain).call("AnchorLog", "anchorOf", bytes(item.transaction.root))
        assert (held[0], held[2], held[4]) == (item.transaction.block_number, 1, checker.KIND_AUDIT_HEADS)


def test_nothing_new_no_map_and_one_at_a_time(cast, counted, drive):  # noqa: F811
    assert audit_maps.map_make(cast.a) is None
    assert counted() and audit_maps.map_make(cast.a) is None
    look(cast)
    waiting = audit_maps.map_make(cast.a)
    look(cast)
    assert audit_maps.map_make(cast.a) is None
    drive()
    assert audit_maps.map_make(cast.a).number == waiting.number + 1


def test_only_active_hospitals_and_only_when_it_is_time(cast, drive):  # noqa: F811
    look(cast)
    drive()
    cast.a.status = OrganisationStatus.SUSPENDED
    cast.a.save()
    assert audit_maps.maps_make() == 0
    cast.a.status = OrganisationStatus.ACTIVE
    cast.a.save()
    assert audit_maps.maps_make() == 1
    drive()
    look(cast)
    assert audit_maps.maps_make() == 0
    with tenant(cast.a):
        AuditMap.objects.update(made_at=timezone.now() - timedelta(seconds=601))
    assert audit_maps.maps_make() == 1


def test_every_patient_has_a_line_and_nobody_can_find_anothers(cast, counted):  # noqa: F811
    made_map = counted()
    with tenant(cast.a):
        lines = list(AuditLine.objects.order_by("count"))
        assert [(line.patient_id, line.count) for line in lines] == [(cast.kim_a.pk, 0), (cast.pat_a.pk, 3)]
        assert len({bytes(line.log_key) for line in lines}) == 2
        keys = [row.patient_key for row in (cast.pat_a, cast.kim_a)]
    document = json.loads(export(cast))
    text = json.dumps(document["map"])
    other = audit_map.index_of(bytes(lines[0].log_key)).hex()
    assert bytes(lines[0].log_key).hex() not in json.dumps(document)
    assert other not in text and not any(bytes(key).hex() in text for key in keys)
    assert document["map"]["number"] == made_map.number


def test_leaves_are_kept_for_the_newest_map_only(cast, counted):  # noqa: F811
    for _ in range(3):
        counted()
    with tenant(cast.a):
        kept = AuditMap.objects.filter(leaves__isnull=False).values_list("number", flat=True)
        assert sorted(kept) == [2, 3]
    look(cast)
    audit_maps.map_make(cast.a)  # not anchored yet, so exports still prove the one before
    assert json.loads(export(cast))["map"]["number"] == 3


def test_the_export_proves_its_count_from_the_download_and_a_node(cast, counted, chains, client):  # noqa: F811
    assert checker.check_log(export(cast)).verdict == "pending"
    counted(4)
    data = export(cast)
    trust = client.get("/verify/trust.json").json()
    report = checker.check_log(data, rpc_urls=[chains["MED"].url, chains["SUP"].url], trust=trust)
    assert report.verdict == "authentic"
    block = report.facts["block_number"]
    assert report.sentences[0] == f"Entries 1 to 5 are complete and unchanged, anchored at MED block {block}."
    assert report.sentences[1] == "Entry 6 was written after that block."
    assert checker.check_log(data, rpc_urls=[chains["MED"].url]).verdict == "authentic"
    assert checker.check_log(data, rpc_urls=[chains["SUP"].url]).verdict == "cannot check now"
    found = audit.verify_patient(cast.pat_a).sealed
    assert (found.count, found.block_number, found.number) == (5, block, 1)


def test_an_older_count_is_not_accepted_as_the_newest(cast, counted, chains):  # noqa: F811
    counted()
    old = export(cast)
    counted()
    rpc = [chains["MED"].url]
    report = checker.check_log(old, rpc_urls=rpc)
    assert report.verdict == "superseded" and "get a newer export" in report.sentences[2]
    assert checker.check_log(export(cast), rpc_urls=rpc, earlier=old).verdict == "authentic"
    # The hospital signs the old count again today: the date gives it away.
    again = json.loads(old) | {"issued_at": "2099-01-01T00:00:00Z"}
    report = checker.check_log(reissue(cast.a, again), rpc_urls=rpc)
    assert report.verdict == "superseded" and "Do not accept it" in report.sentences[3]


def test_two_lists_for_two_viewers_cannot_both_be_the_newest(cast, counted, chains, drive):  # noqa: F811
    """A hospital keeps a second line of the same patient: one of the two maps is not the newest, whoever asks."""
    counted()
    shown = export(cast)
    with tenant(cast.a):
        row = AuditMap.objects.get(number=1)
        hidden = AuditMap(
            hospital=cast.a, number=2, seq=row.seq + 1, link=row.link, lines=row.lines, root=bytes([7]) * 32,
            previous=row.head, leaves=None,
        )  # fmt: skip
        hidden.head = audit_maps.head_of(hidden)
    from chain.services import anchor_enqueue

    sender = bytes(cast.a.account_address)
    anchor_enqueue(chain="MED", sender=sender, leaf=hidden.head, ref="hidden", kind=audit_maps.KIND)
    drive()
    assert checker.check_log(shown, rpc_urls=[chains["MED"].url]).verdict == "superseded"
    faults = {fault.kind for fault in audit.verify_hospital(cast.a).faults}
    assert faults == {"unknown_map"}


def test_a_head_anchored_as_something_else_proves_nothing(cast, counted, chains, drive):  # noqa: F811
    """Under the kind of records it would be no newest map of anybody."""
    counted()
    document = json.loads(export(cast))
    with tenant(cast.a):
        row = AuditMap.objects.get()
        row.number, row.previous = 2, row.head
        leaves = audit_maps.leaves_of(AuditLine.objects.all(), 2)
        row.root = audit_map.root_of(leaves)
        row.head = audit_maps.head_of(row)
        line = AuditLine.objects.get(patient=cast.pat_a)
    from chain.selectors import inclusion
    from chain.services import anchor_enqueue

    anchor_enqueue(chain="MED", sender=bytes(cast.a.account_address), leaf=row.head, ref="as-a-record")
    drive()
    proof = inclusion("as-a-record")
    siblings = audit_map.proof_of(leaves, audit_map.index_of(bytes(line.log_key)))
    (anchor, *_) = document["map"]["anchors"]
    anchor |= {
        "root": "0x" + proof.root.hex(), "tx_hash": proof.tx_hash, "block_number": proof.block_number,
        "block_hash": proof.block_hash,
    }  # fmt: skip
    document["map"] |= {
        "number": 2, "root": bytes(row.root).hex(), "previous": bytes(row.previous).hex(),
        "siblings": [item.hex() for item in siblings], "anchors": [anchor],
    }  # fmt: skip
    data = reissue(cast.a, document)
    assert checker.check_log(data).verdict == "authentic"  # offline nobody can tell
    report = checker.check_log(data, rpc_urls=[chains["MED"].url])
    assert report.verdict == "altered" and "as something else" in report.sentences[0]


def test_rows_that_no_longer_lead_to_the_anchored_root_prove_nothing(cast, counted):  # noqa: F811
    counted()
    with tenant(cast.a):
        AuditLine.objects.filter(patient=cast.pat_a).update(log_key=random.Random(1).randbytes(32))
    document = json.loads(export(cast))
    assert document["map"] is None
    assert checker.check_log(export(cast)).verdict == "pending"


@pytest.mark.django_db(transaction=True)
def test_a_second_process_does_not_make_the_same_map(cast, counted, monkeypatch):  # noqa: F811
    """Both saw map 1 as the last one; the number is given once."""
    counted()
    look(cast)
    real = audit_maps.audit_map.root_of
    calls = []

    def other_first(leaves):
        if not calls:
            calls.append(1)
            with tenant(cast.a):
                last = AuditMap.objects.get(number=1)
                AuditMap.objects.bulk_create(
                    [
                        AuditMap(
                            hospital=cast.a, number=2, seq=last.seq + 1, link=last.link, lines=1, root=bytes(32),
                            head=bytes([9]) * 32,
                        )
                    ]
                )  # fmt: skip
        return real(leaves)

    monkeypatch.setattr(audit_maps.audit_map, "root_of", other_first)
    assert audit_maps.map_make(cast.a) is None
    assert not OutboxItem.objects.filter(ref__startswith="log-map:", leaf=bytes([9]) * 32).exists()


def test_counts_follow_the_entries(cast, counted):  # noqa: F811
    counted()
    look(cast, 2, cast.kim_a)
    counted()
    with tenant(cast.a):
        ends = {line.patient_id: (line.count, bytes(line.link)) for line in AuditLine.objects.all()}
        for patient in (cast.pat_a, cast.kim_a):
            last = AuditEntry.objects.filter(patient=patient).order_by("-patient_seq").first()
            assert ends[patient.pk] == (last.patient_seq, bytes(last.patient_link))
    assert audit.verify_hospital(cast.a).is_complete
