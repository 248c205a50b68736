"""Defects on purpose, planted in the process that is about to be killed. A campaign counts only if it reports each.

Most are edits of the product's source: if the place is not found any more, planting fails loudly.
"""

import contextlib
import inspect
import tempfile
import textwrap
from dataclasses import dataclass
from importlib import import_module


@dataclass(frozen=True)
class Defect:
    """What is wrong, how to plant it, and where the campaign's own plans are most likely to meet it."""

    text: str
    plant: object
    names: tuple[str, ...]
    scenarios: tuple[str, ...]
    seen_by: tuple[str, ...]  # the rules that speak of it
    how: str = "kill"

    def is_caught(self, faults):
        return any(fault.split(":")[0] in self.seen_by for fault in faults)


DEFECTS = {}


def defect(*names, scenarios, seen_by, how="kill"):
    def keep(function):
        DEFECTS[function.__name__] = Defect(function.__doc__, function, names, scenarios, seen_by, how)
        return function

    return keep


def plant(name):
    DEFECTS[name].plant()


def edit(path, *changes, more=None):
    """Replaces text in the source of a function or method and puts the result in its place."""
    module_name, _, names = path.partition(":")
    module = owner = import_module(module_name)
    *outer, name = names.split(".")
    for part in outer:
        owner = getattr(owner, part)
    source = textwrap.dedent(inspect.getsource(getattr(owner, name)))
    for old, new in changes:
        assert source.count(old) == 1, f"{path}: {old!r} stands there {source.count(old)} times"
        source = source.replace(old, new)
    space = {**vars(module), **(more or {})}
    exec(compile(source, f"planted:{path}", "exec"), space)
    setattr(owner, name, space[name])


@defect("outbox.committed", "sending.sent", "sending.marked", scenarios=("upload", "two"), seen_by=("I2", "I3", "I8"))
def anchored_twice():
    """A sender that starts puts everything on its way into the queue again."""
    from chain.models import OutboxItem
    from chain.sending import Sender

    begin = Sender.__init__

    def init(self, chain, held):
        begin(self, chain, held)
        OutboxItem.objects.filter(chain=chain, state="broadcast").update(
            state="queued", transaction=None, leaf_index=None
        )

    Sender.__init__ = init


@defect(
    "outbox.transaction_saved",
    "outbox.bytes_stored",
    "outbox.nonce_taken",
    scenarios=("upload", "two"),
    seen_by=("I2", "I3", "I9"),
)
def batch_outside_transaction():
    """Transaction, bytes, nonce and claims are not one commit."""
    edit(
        "chain.outbox:Outbox._commit",
        ("with transaction.atomic(durable=True):", "with nullcontext():"),
        more={"nullcontext": contextlib.nullcontext},
    )


@defect("seal.payload_stored", "seal.record_saved", "seal.upload_marked", scenarios=("upload", "two"), seen_by=("I1",))
def source_deleted_early():
    """The staged bytes go before the row that replaces them is committed."""
    edit(
        "records.sealing:_upload_seal",
        (
            '    fp("seal.payload_stored")\n',
            '    blob_store().delete_staging(upload.staging_blob)\n    fp("seal.payload_stored")\n',
        ),
    )


@defect("seal.inspected", "epoch.payload_put", "seal.payload_stored", scenarios=("upload", "two"), seen_by=("I4",))
def plaintext_left():
    """A scanner's temporary file holds the plaintext until sealing is over."""

    def spill(reader):
        with tempfile.NamedTemporaryFile(delete=False) as file:
            for piece in reader.chunks():
                file.write(piece)
        return file.name

    edit(
        "records.sealing:_upload_seal",
        ('        fp("seal.inspected")\n', '        spilled = spill(reader)\n        fp("seal.inspected")\n'),
        ('    fp("seal.committed")\n', '    fp("seal.committed")\n    os.unlink(spilled)\n'),
        more={"spill": spill, "os": import_module("os")},
    )


@defect("sending.marked", scenarios=("upload", "two", "read"), seen_by=("I2", "I3", "I8", "I9"))
def marked_sent_before_sending():
    """The mark comes first, and what is marked is not sent again."""
    edit(
        "chain.sending:Sender._hand_over",
        (
            "    try:\n",
            "    attempt.sent_at = timezone.now()\n"
            "    Attempt.objects.filter(pk=attempt.pk).update(sent_at=attempt.sent_at)\n"
            '    fp("sending.marked")\n    try:\n',
        ),
    )
    edit(
        "chain.sending:Sender._send_one",
        (
            "if attempt.sent_at and (now - attempt.sent_at).total_seconds() < conf().resend_seconds:",
            "if attempt.sent_at:",
        ),
        ("if is_first and self._is_stuck(attempt, now):", "if False:"),
    )


@defect("index.saved", scenarios=("upload", "read", "register"), seen_by=("I6",))
def cursor_apart_from_events():
    """The index moves its cursor first and writes the events after that."""
    from chain import indexer

    whole = indexer.Indexer._save

    def save(self, state, look, blocks, events, number, block_hash):
        whole(self, state, look, [], [], number, block_hash)
        with indexer.transaction.atomic(durable=True):
            indexer.blocks_write(blocks)
            indexer.events_write(events)

    indexer.Indexer._save = save


@defect("sending.looked", scenarios=("upload", "read", "register"), how="stop", seen_by=("late",))
def lease_without_fence():
    """A holder that lost its lease is not refused."""
    from chain import indexer, leases, outbox, sending

    def hold(held, *, seconds):
        leases.Lease.objects.filter(name=held.name).update(expires_at=leases._until(seconds))

    for module in (leases, indexer, outbox, sending):
        module.lease_hold = hold


@defect("gate.piece_sent", scenarios=("read",), seen_by=("I5",))
def logged_after_release():
    """The log entry is written when the last byte has left."""
    from records import gate

    log, stream, waiting = gate._decide_and_log, gate._stream, []

    def decide_only(actor, version, purpose, action):
        record = gate.Record.objects.select_related("patient", "hospital").get(pk=version.record_id)
        version.record = record
        waiting.append(lambda: log(actor, version, purpose, action))
        return gate.decide(actor=actor, action=action, record=record, purpose=purpose)

    def stream_then_log(actor, version, *rest):
        yield from stream(actor, version, *rest)
        with gate.tenant(version.hospital_id):
            waiting.pop()()

    gate._decide_and_log, gate._stream = decide_only, stream_then_log


@defect("project.cursor_moved", "project.applied", scenarios=("upload", "two", "register"), seen_by=("I2", "I9"))
def projector_cursor_apart():
    """A projector's cursor is committed before the rows that it stands for."""
    edit(
        "chain.projection:run",
        ("with transaction.atomic(durable=True):", "with nullcontext():"),
        more={"nullcontext": contextlib.nullcontext},
    )


@defect("rekey.payload_stored", "rekey.epoch_moved", scenarios=("revoke",), seen_by=("I1", "I7", "I9"))
def rekey_deletes_first():
    """A re-key removes the old bytes before the new epoch is committed."""
    edit(
        "records.rekey:_version_rekey",
        (
            '    fp("rekey.payload_stored")\n',
            '    blob_store().delete(old.payload_blob)\n    fp("rekey.payload_stored")\n',
        ),
    )


@defect("outbox.nonce_taken", "outbox.transaction_saved", scenarios=("upload", "read"), seen_by=("I3", "I9"))
def nonce_taken_first():
    """The nonce is taken in a commit of its own, before there are bytes for it."""
    edit(
        "chain.outbox:Outbox._commit",
        (
            "    with transaction.atomic(durable=True):\n",
            "    early = Account.objects.get(chain=self.chain, address=plan.sender)\n"
            "    Account.objects.filter(pk=early.pk).update(next_account_nonce=early.next_account_nonce + 1)\n"
            '    fp("outbox.nonce_taken")\n'
            "    with transaction.atomic(durable=True):\n",
        ),
        ("nonce = max(account.next_account_nonce, used)", "nonce = early.next_account_nonce"),
        ("        Account.objects.filter(pk=account.pk).update(next_account_nonce=nonce + 1)\n", ""),
        ('        fp("outbox.nonce_taken")\n        claimed', "        claimed"),
    )


@defect("seal.committed", scenarios=("upload", "two"), seen_by=("I2",))
def wish_after_commit():
    """A record is committed first and its anchor wished for afterwards."""
    from types import SimpleNamespace

    from records import epochs

    real, waiting = epochs.chain_services.anchor_enqueue, []

    def flush():
        while waiting:
            real(**waiting.pop(0))

    edit(
        "records.sealing:_upload_seal",
        ('    fp("seal.committed")\n', '    fp("seal.committed")\n    flush()\n'),
        more={"flush": flush},
    )
    epochs.chain_services = SimpleNamespace(anchor_enqueue=lambda **wish: waiting.append(wish))


@defect("ingest.committed", scenarios=("upload", "two"), seen_by=("I8",))
def entry_after_commit():
    """An upload is committed first and logged afterwards."""
    edit(
        "records.ingest:_receive",
        ("        audit.append(\n", "        entry = dict(\n"),
        ('    fp("ingest.committed")\n', '    fp("ingest.committed")\n    audit.append(**entry)\n'),
    )


@defect("store.renamed", "epoch.payload_put", "seal.payload_stored", scenarios=("upload", "revoke"), seen_by=("I7",))
def orphans_kept():
    """Nobody removes the files that no row names."""
    from records import sweeper

    sweeper.scrub_orphans = lambda **_: []


@defect("grant.closed", "rekey.committed", scenarios=("revoke",), seen_by=("I5",))
def keys_outlive_their_grant():
    """A stopped consent keeps its wraps."""
    from records import grants, sweeper

    grants._wraps_drop = lambda grant: None
    sweeper.stray_wraps_remove = lambda: 0


@defect("seal.claimed", "seal.inspected", scenarios=("upload",), seen_by=("I1", "I9"))
def claim_without_end():
    """What a killed worker claimed is nobody else's, ever."""
    edit(
        "records.sealing:upload_claim",
        (".filter(Q(claimed_until__isnull=True) | Q(claimed_until__lt=now))", ".filter(claimed_until__isnull=True)"),
    )


@defect("ingest.committed", scenarios=("upload", "two"), seen_by=("I1",), how="raise")
def error_takes_the_bytes():
    """The request's clean-up removes staged bytes that a committed row names."""
    edit(
        "records.ingest:_receive",
        ("        file.keep()\n", ""),
        ('    fp("ingest.committed")\n', '    fp("ingest.committed")\n    file.keep()\n'),
    )


@defect("seal.committed", "seal.staging_deleted", scenarios=("upload", "two"), seen_by=("I1", "I9"), how="raise")
def error_reopens_a_sealed_upload():
    """An error after the commit puts the upload back into the queue, without its bytes."""
    edit(
        "records.sealing:_upload_release",
        (
            "filter(pk=upload.pk, claimed_by=token, state=UploadState.SEALING)",
            "filter(pk=upload.pk, claimed_by=token)",
        ),
    )
