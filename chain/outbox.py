"""Turns queued wishes into signed transactions: one commit takes the nonce, signs and stores the bytes.

Nothing is sent from here. A nonce is never taken without stored bytes, so a crash at any point leaves no gap:
`chain.sending` sends whatever is stored and not in a block.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Count, Min, Q
from django.utils import timezone
from django.utils.module_loading import import_string

from chain import codec, deploying, merkle
from chain.artefacts import deployment
from chain.conf import conf
from chain.errors import ChainError, InsufficientFunds, Reverted, RpcInconsistent, RpcRefused, UnknownContract
from chain.failpoints import fp
from chain.gateway import Gateway
from chain.leases import Held, lease_hold
from chain.models import Account, Attempt, ItemState, Lane, OutboxItem, Transaction, TransactionState
from chain.signing import address_of, sign_transaction
from chain.types import Fees, hex0x

log = logging.getLogger(__name__)

KINDS = ("Records", "KeyDirectory", "AuditHeads", "ChainHead")
REFUSED_PATIENCE_SECONDS = 60  # a node's own refusal may pass; a contract's does not
SEQUENCED = (Lane.ANCHOR, Lane.ACCESS)
OPEN = (TransactionState.BROADCAST, TransactionState.MINED)


@dataclass(frozen=True)
class Plan:
    """One transaction to be."""

    sender: bytes
    lane: str
    items: tuple[OutboxItem, ...]
    to: bytes
    data: bytes = b""
    value: int = 0
    root: bytes | None = None
    kind: str = ""
    first_seq: int | None = None


@dataclass
class Prepared:
    """What one pass over the queue did."""

    transactions: list[UUID] = field(default_factory=list)
    deferred: int = 0
    failed: int = 0


class Claimed(ChainError):
    """Another sender took an item first."""

    retryable = True


def signing_key(address: bytes) -> bytes:
    """The deployer's own key, or whatever the configured signer gives for an address."""
    if conf().deployer_key_file.exists():
        key = deploying.deployer_key()
        if address_of(key) == address:
            return key
    return import_string(conf().signer)(address)


class Outbox:
    """The queue of one chain, worked by whoever holds its lease."""

    def __init__(self, chain: str, node: Gateway, held: Held) -> None:
        self.chain = chain
        self.node = node
        self.held = held
        self.conf = conf()
        self._fees: Fees | None = None

    def prepare(self) -> Prepared:
        """Every batch that is ready becomes a stored transaction."""
        self._fees = None
        done = Prepared()
        now = timezone.now()
        due = Q(retry_at__isnull=True) | Q(retry_at__lte=now)
        queued = OutboxItem.objects.filter(due, chain=self.chain, state=ItemState.QUEUED)
        lanes = queued.values("sender", "lane").annotate(count=Count("id"), oldest=Min("created_at"))
        for row in lanes.order_by("oldest"):
            age = (now - row["oldest"]).total_seconds()
            try:
                self._lane(row["sender"], row["lane"], row["count"], age, queued, done)
            except (InsufficientFunds, RpcRefused, UnknownContract) as error:
                self._defer(row["sender"], row["lane"], error, done)
        return done

    def _lane(self, sender: bytes, lane: str, count: int, age: float, queued, done: Prepared) -> None:
        if lane == Lane.ANCHOR and count < self.conf.batch_leaves and age < self.conf.batch_seconds:
            return
        if lane == Lane.ACCESS and count < self.conf.access_leaves and age < self.conf.access_seconds:
            return
        is_open = Transaction.objects.filter(chain=self.chain, sender=sender, state__in=OPEN)
        if lane in SEQUENCED:
            # The next sequence number depends on the last batch, so that one must be in a block first. A batch
            # that reverted counts as open until it is final: a reorganisation could still let it succeed.
            unsettled = Q(state=TransactionState.BROADCAST) | Q(is_reverted=True)
            if is_open.filter(unsettled, lane=lane).exists():
                return
        room = self.conf.in_flight_max - is_open.filter(state=TransactionState.BROADCAST).count()
        if room <= 0:
            return
        rows = list(queued.filter(sender=sender, lane=lane).order_by("created_at", "id")[: self._most(lane, room)])
        for plan in self._plans(sender, lane, rows):
            if room <= 0 or not self._offer(plan, done):
                return
            room -= 1

    def _most(self, lane: str, room: int) -> int:
        sizes = {
            # A batch goes out when it is worth it; what has piled up meanwhile comes along for the same price.
            Lane.ANCHOR: max(self.conf.batch_leaves, self.conf.batch_leaves_max),
            Lane.ACCESS: self.conf.access_leaves,
            Lane.CONSENT: self.conf.consents_per_batch * room,
        }
        return sizes.get(lane, room)

    # -- what a transaction carries -----------------------------------------------------------------------------

    def _plans(self, sender: bytes, lane: str, rows: list[OutboxItem]) -> Iterator[Plan]:
        if not rows:
            return
        place = deployment(self.chain)
        if lane == Lane.ANCHOR:
            kind = rows[0].payload["kind"]
            yield self._anchor(sender, kind, [row for row in rows if row.payload["kind"] == kind])
        elif lane == Lane.ACCESS:
            first = self.node.call("AccessLog", "head", sender)[1]
            yield self._access(sender, rows, first)
        elif lane == Lane.CONSENT:
            size = self.conf.consents_per_batch
            for start in range(0, len(rows), size):
                yield self._consent(sender, rows[start : start + size])
        elif lane == Lane.CALL:
            for row in rows:
                wish = row.payload
                function = codec.function(wish["contract"], wish["function"])
                to = place[wish["contract"]].address
                yield Plan(sender, lane, (row,), to, function.encode(wish["args"]))
        else:
            for row in rows:
                to, value = bytes.fromhex(row.payload["to"][2:]), int(row.payload["value"])
                yield Plan(sender, lane, (row,), to, value=value)

    def _anchor(self, sender: bytes, kind: str, rows: list[OutboxItem], first: int | None = None) -> Plan:
        root = merkle.root([row.leaf for row in rows])
        first = self.node.call("AnchorLog", "nextSeq", sender) if first is None else first
        data = codec.function("AnchorLog", "anchor").encode([root, first, len(rows), KINDS.index(kind)])
        to = deployment(self.chain)["AnchorLog"].address
        return Plan(sender, Lane.ANCHOR, tuple(rows), to, data, root=root, kind=kind, first_seq=first)

    def _access(self, sender: bytes, rows: list[OutboxItem], first: int) -> Plan:
        data = codec.function("AccessLog", "append").encode([first, [row.leaf for row in rows]])
        return Plan(
            sender, Lane.ACCESS, tuple(rows), deployment(self.chain)["AccessLog"].address, data, first_seq=first
        )

    def _consent(self, sender: bytes, rows: list[OutboxItem]) -> Plan:
        digests = [row.payload["digest"] for row in rows]
        locks = [row.payload["lock"] for row in rows]
        if len(rows) == 1:
            data = codec.function("Consents", "record").encode([digests[0], locks[0]])
        else:
            data = codec.function("Consents", "recordMany").encode([digests, locks])
        return Plan(sender, Lane.CONSENT, tuple(rows), deployment(self.chain)["Consents"].address, data)

    # -- trying it, and the commit --------------------------------------------------------------------------------

    def _offer(self, plan: Plan, done: Prepared) -> bool:
        """Stores the plan if the chain would accept it now; False ends this lane for now."""
        try:
            gas = self.node.estimate(sender=plan.sender, to=plan.to, data=plan.data, value=plan.value)
        except (Reverted, RpcRefused) as refusal:
            return self._refused(plan, refusal, done)
        fp("outbox.planned")
        limit = gas * (100 + self.conf.gas_margin_percent) // 100
        done.transactions.append(self._commit(plan, limit))
        return True

    def _refused(self, plan: Plan, refusal: Reverted | RpcRefused, done: Prepared) -> bool:
        if plan.lane == Lane.CONSENT and len(plan.items) > 1:
            # One bad digest refuses the whole batch: halves find it, and the others go through.
            middle = len(plan.items) // 2
            return all(
                self._offer(self._consent(plan.sender, list(part)), done)
                for part in (plan.items[:middle], plan.items[middle:])
            )
        name = getattr(refusal, "name", "refused by the node")
        if plan.lane == Lane.ANCHOR and name == "AnchorLogAlreadyAnchored":
            if len(plan.items) > 1:
                # Somebody put up our root to stop us: one leaf less gives another root.
                return self._offer(self._anchor(plan.sender, plan.kind, list(plan.items[:-1]), plan.first_seq), done)
            return self._fail(plan, refusal, done)
        if plan.lane in SEQUENCED:
            # No single leaf is at fault (a suspended organisation, an answer from a node that lags): all wait.
            self._defer(plan.sender, plan.lane, refusal, done)
            return False
        open_here = Transaction.objects.filter(chain=self.chain, state=TransactionState.BROADCAST)
        age = (timezone.now() - plan.items[0].created_at).total_seconds()
        if open_here.filter(sender=plan.sender).exists() or (
            age < self.conf.revert_patience_seconds and open_here.exists()
        ):
            # It may stand on a transaction that is in no block yet.
            self._defer(plan.sender, plan.lane, refusal, done, seconds=0)
            return False
        if isinstance(refusal, RpcRefused) and age < REFUSED_PATIENCE_SECONDS:
            self._defer(plan.sender, plan.lane, refusal, done)
            return False
        return self._fail(plan, refusal, done)

    def _fail(self, plan: Plan, refusal: ChainError, done: Prepared) -> bool:
        ids = [item.id for item in plan.items]
        with transaction.atomic(durable=True):
            lease_hold(self.held, seconds=self.conf.lease_seconds)
            OutboxItem.objects.filter(id__in=ids, state=ItemState.QUEUED).update(
                state=ItemState.FAILED, error=str(refusal)[:200]
            )
        log.warning("chain item refused chain=%s lane=%s error=%s", self.chain, plan.lane, type(refusal).__name__)
        done.failed += len(ids)
        return True

    def _defer(
        self, sender: bytes, lane: str, error: ChainError, done: Prepared, *, seconds: float | None = None
    ) -> None:
        wait = self.conf.retry_seconds if seconds is None else seconds
        queued = OutboxItem.objects.filter(chain=self.chain, sender=sender, lane=lane, state=ItemState.QUEUED)
        done.deferred += queued.update(
            error=(str(error) or type(error).__name__)[:200], retry_at=timezone.now() + timedelta(seconds=wait)
        )

    def _key(self, sender: bytes) -> bytes:
        try:
            key = signing_key(sender)
        except Exception as error:
            log.exception("no signing key chain=%s sender=%s", self.chain, hex0x(sender))
            raise RpcRefused(f"no signing key for {hex0x(sender)}") from error
        if address_of(key) != sender:
            raise RpcRefused(f"the signer's key is not the one of {hex0x(sender)}")
        return key

    def _used(self, sender: bytes) -> int:
        """How many nonces of the account are spent. A number beyond our own books is asked for again, as of a named
        block: one wrong answer would leave a gap that nothing gets past."""
        used = self.node.transaction_count(sender)
        account = Account.objects.filter(chain=self.chain, address=sender).first()
        if account is None or used > account.next_account_nonce:
            again = self.node.transaction_count(sender, self.node.head().number)
            if again != used:
                raise RpcInconsistent(f"{self.chain}: the node counts {used} and {again} transactions of one account")
        return used

    def _commit(self, plan: Plan, gas_limit: int) -> UUID:
        key = self._key(plan.sender)
        self._fees = self._fees or self.node.fees()
        used = self._used(plan.sender)
        Account.objects.bulk_create(
            [Account(chain=self.chain, address=plan.sender, next_account_nonce=used)], ignore_conflicts=True
        )
        ids = [item.id for item in plan.items]
        with transaction.atomic(durable=True):
            lease_hold(self.held, seconds=self.conf.lease_seconds)
            account = Account.objects.select_for_update().get(chain=self.chain, address=plan.sender)
            # Ahead of us only if this account was used elsewhere.
            nonce = max(account.next_account_nonce, used)
            signed = sign_transaction(
                key,
                chain_id=self.node.conf.chain_id,
                account_nonce=nonce,
                to=plan.to,
                value=plan.value,
                data=plan.data,
                gas_limit=gas_limit,
                fees=self._fees,
            )
            stored = Transaction.objects.create(
                chain=self.chain,
                sender=plan.sender,
                account_nonce=nonce,
                lane=plan.lane,
                to=plan.to,
                value=plan.value,
                data=plan.data,
                gas_limit=gas_limit,
                root=plan.root,
                kind=plan.kind,
                first_seq=plan.first_seq,
                count=len(ids),
            )
            fp("outbox.transaction_saved")
            Attempt.objects.create(
                transaction=stored,
                tx_hash=signed.tx_hash,
                raw=signed.raw,
                max_fee=self._fees.max_fee,
                priority_fee=self._fees.priority_fee,
            )
            fp("outbox.bytes_stored")
            Account.objects.filter(pk=account.pk).update(next_account_nonce=nonce + 1)
            fp("outbox.nonce_taken")
            claimed = OutboxItem.objects.filter(id__in=ids, state=ItemState.QUEUED).update(
                state=ItemState.BROADCAST, transaction=stored, error="", retry_at=None
            )
            if claimed != len(ids):
                raise Claimed(f"{self.chain}: {len(ids) - claimed} items were taken by another sender")
            self._place_leaves(ids)
            fp("outbox.items_claimed")
        fp("outbox.committed")
        return stored.id

    @staticmethod
    def _place_leaves(ids: list[UUID]) -> None:
        """One prepared statement for thousands of rows; the ORM would write a CASE with a branch for each."""
        key = OutboxItem._meta.pk
        rows = [(index, key.get_db_prep_value(item_id, connection)) for index, item_id in enumerate(ids)]
        with connection.cursor() as cursor:
            # The table's name comes from the model, values are bound.
            cursor.executemany(
                f'UPDATE "{OutboxItem._meta.db_table}" SET leaf_index = %s WHERE id = %s',  # noqa: S608
                rows,
            )
