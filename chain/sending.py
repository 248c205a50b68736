"""Sends stored transactions, follows them into blocks and out of them again, and raises their fees."""

import logging
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from chain import identity
from chain.conf import conf
from chain.errors import (
    AccountNonceTooLow,
    AlreadyKnown,
    ChainError,
    InsufficientFunds,
    Reverted,
    RpcRefused,
    RpcUnavailable,
    TxUnderpriced,
)
from chain.failpoints import fp
from chain.gateway import Look, gateway
from chain.leases import Held, lease_hold
from chain.models import Attempt, ChainEvent, ChainState, ItemState, Lane, OutboxItem, Transaction, TransactionState
from chain.outbox import OPEN, SEQUENCED, Outbox, Prepared, signing_key
from chain.signing import sign_transaction
from chain.types import Fees, Header, Receipt, hex0x

log = logging.getLogger(__name__)
VERIFY_SECONDS = 60
GAS_OF_A_PAYMENT = 21_000
GAP_MOST = 16


@dataclass
class Sent:
    """What one step did; `is_idle` when there was nothing to do and nothing is under way."""

    prepared: Prepared = field(default_factory=Prepared)
    sent: int = 0
    mined: int = 0
    final: int = 0
    orphaned: int = 0
    dropped: int = 0
    bumped: int = 0
    waiting: int = 0

    @property
    def is_idle(self) -> bool:
        return not (self.prepared.transactions or self.sent or self.mined or self.final or self.waiting)


class Sender:
    """The single sender of one chain; `step` is called again and again by whoever holds the lease."""

    def __init__(self, chain: str, held: Held) -> None:
        self.chain = chain
        self.held = held
        self.node = gateway(chain)
        self.outbox = Outbox(chain, self.node, held)
        self._verified_at: float | None = None

    def step(self) -> Sent:
        result = Sent()
        if not self._has_work():
            return result
        look = self.node.look()
        identity.writable(self.chain, look)
        self._verify()
        self.track(look, result)
        result.prepared = self.outbox.prepare()
        self.send(result)
        return result

    def _has_work(self) -> bool:
        """Answered by the database alone: an idle portal does not keep asking a node that bills each question."""
        queued = OutboxItem.objects.filter(chain=self.chain, state=ItemState.QUEUED)
        return queued.exists() or Transaction.objects.filter(chain=self.chain, state__in=OPEN).exists()

    def _verify(self) -> None:
        """Foreign code at one of our addresses stops all writing within a minute (G7)."""
        now = time.monotonic()
        if self._verified_at is None or now - self._verified_at >= VERIFY_SECONDS:
            identity.verify_deployment(self.chain)
            self._verified_at = now

    def _open(self) -> list[Transaction]:
        rows = Transaction.objects.filter(chain=self.chain, state__in=OPEN)
        return list(rows.order_by("sender", "account_nonce").prefetch_related("attempts"))

    # -- following --------------------------------------------------------------------------------------------------

    def track(self, look: Look, result: Sent) -> None:
        """Moves open transactions to where the chain has them. `look` is older than the receipts, so what it calls
        final cannot be contradicted by them."""
        rows = self._open()
        if not rows:
            return
        found = self._receipts(rows)
        headers = self._headers({receipt.block_number for _, receipt in found.values()})
        elsewhere = self._elsewhere([row for row in rows if row.id not in found], look)
        fp("sending.looked")
        with transaction.atomic(durable=True):
            lease_hold(self.held, seconds=conf().lease_seconds)
            for row in rows:
                if row.id in found:
                    attempt, receipt = found[row.id]
                    header = headers.get(receipt.block_number)
                    # Receipt and header from two versions of the chain, or a receipt of a block that the transaction
                    # is not in: look again at the next step.
                    is_there = header is not None and attempt.tx_hash in header.transactions
                    if is_there and header.hash == receipt.block_hash:
                        self._in_block(row, attempt, receipt, header, look, result)
                elif row.id in elsewhere:
                    self._dropped(row, result)
                elif row.state == TransactionState.MINED:
                    self._orphaned(row, result)
        fp("sending.tracked")

    def _receipts(self, rows: list[Transaction]) -> dict:
        attempts = [attempt for row in rows for attempt in row.attempts.all()]
        receipts = self.node.receipts([attempt.tx_hash for attempt in attempts])
        pairs = zip(attempts, receipts, strict=True)
        return {attempt.transaction_id: (attempt, receipt) for attempt, receipt in pairs if receipt is not None}

    def _headers(self, numbers: set[int]) -> dict[int, Header]:
        wanted = sorted(numbers)
        return {number: h for number, h in zip(wanted, self.node.headers(wanted), strict=True) if h is not None}

    def _elsewhere(self, rows: list[Transaction], look: Look) -> set[UUID]:
        """Transactions whose nonce another one has used, finally. A node may know a block before it finds the receipts
        in it, and then a wish that started over would be done twice: so the index must have seen all that is final and
        none of our attempts among it, and the node must know none of them."""
        spent = self._spent(rows, look)
        gone = [row for row in rows if row.account_nonce < spent.get(row.sender, 0)]
        state = ChainState.objects.filter(name=self.chain).first() if gone else None
        if state is None or state.halted_reason or state.gaps or state.cursor_number < look.finalized:
            return set()
        attempts = {attempt.tx_hash: row.id for row in gone for attempt in row.attempts.all()}
        hashes = list(attempts)
        events = ChainEvent.objects.filter(chain=self.chain, is_canonical=True, tx_hash__in=hashes)
        seen = {attempts[bytes(tx_hash)] for tx_hash in events.values_list("tx_hash", flat=True)}
        known = zip(hashes, self.node.transactions(hashes), strict=True)
        seen |= {attempts[tx_hash] for tx_hash, there in known if there is not None}
        return {row.id for row in gone} - seen

    def _spent(self, rows: list[Transaction], look: Look) -> dict[bytes, int]:
        """Nonces used up in final blocks, for senders with something that is in no block."""
        aged = timezone.now() - timedelta(seconds=conf().resend_seconds)
        senders = {row.sender for row in rows if row.created_at <= aged}
        return {sender: self.node.transaction_count(sender, look.finalized) for sender in senders}

    def _in_block(
        self, row: Transaction, attempt: Attempt, receipt: Receipt, header: Header, look: Look, result: Sent
    ) -> None:
        if row.state == TransactionState.BROADCAST or row.block_hash != receipt.block_hash:
            Transaction.objects.filter(pk=row.pk, state=row.state).update(
                state=TransactionState.MINED,
                mined_attempt=attempt,
                block_number=receipt.block_number,
                block_hash=receipt.block_hash,
                block_time=header.timestamp,
                is_reverted=not receipt.is_success,
            )
            if receipt.is_success:
                self._items(row, ItemState.BROADCAST, ItemState.MINED)
            else:
                self._items(row, ItemState.MINED, ItemState.BROADCAST)
            result.mined += 1
            fp("sending.mined")
        if receipt.block_number > look.finalized:
            return
        if receipt.is_success:
            Transaction.objects.filter(pk=row.pk).update(state=TransactionState.FINAL, final_at=timezone.now())
            fp("sending.final")
            OutboxItem.objects.filter(transaction=row).update(state=ItemState.FINAL, error="")
            result.final += 1
        else:
            self._reverted(row, receipt)

    @staticmethod
    def _items(row: Transaction, old: str, new: str) -> None:
        OutboxItem.objects.filter(transaction=row, state=old).update(state=new)

    def _orphaned(self, row: Transaction, result: Sent) -> None:
        """Its block left the chain: the same bytes go out again."""
        Transaction.objects.filter(pk=row.pk).update(
            state=TransactionState.BROADCAST,
            mined_attempt=None,
            block_number=None,
            block_hash=None,
            block_time=None,
            is_reverted=False,
        )
        fp("sending.orphaned")
        Attempt.objects.filter(transaction=row).update(sent_at=None)
        self._items(row, ItemState.MINED, ItemState.BROADCAST)
        log.warning("transaction orphaned chain=%s nonce=%s", self.chain, row.account_nonce)
        result.orphaned += 1

    def _dropped(self, row: Transaction, result: Sent) -> None:
        """A transaction from elsewhere spent the nonce, finally: its items start over."""
        Transaction.objects.filter(pk=row.pk).update(state=TransactionState.DROPPED, error="nonce used elsewhere")
        self._requeue(row, "the account was used elsewhere; queued again")
        log.error("transaction dropped chain=%s nonce=%s", self.chain, row.account_nonce)
        result.dropped += 1

    @staticmethod
    def _requeue(row: Transaction, error: str) -> None:
        OutboxItem.objects.filter(transaction=row).update(
            state=ItemState.QUEUED, transaction=None, leaf_index=None, error=error
        )

    def _reverted(self, row: Transaction, receipt: Receipt) -> None:
        """Refused for good. Leaves of a sequence go into the next batch; a single call has failed."""
        reason = self._reason(row, receipt)
        Transaction.objects.filter(pk=row.pk).update(
            state=TransactionState.FAILED, final_at=timezone.now(), error=reason
        )
        if row.lane in SEQUENCED:
            self._requeue(row, reason)
        else:
            OutboxItem.objects.filter(transaction=row).update(state=ItemState.FAILED, error=reason)
        log.warning("transaction reverted chain=%s lane=%s error=%s", self.chain, row.lane, reason)

    def _reason(self, row: Transaction, receipt: Receipt) -> str:
        try:
            self.node.call_raw(row.to, bytes(row.data), block=receipt.block_number - 1, sender=row.sender)
        except Reverted as refusal:
            return str(refusal)[:200]
        except ChainError:
            return "reverted"
        return "reverted in its block (out of gas, or another transaction came first)"

    # -- sending ----------------------------------------------------------------------------------------------------

    def send(self, result: Sent) -> None:
        """Every stored transaction that is in no block, in nonce order for each account."""
        by_sender: dict[bytes, list[Transaction]] = defaultdict(list)
        for row in self._open():
            result.waiting += 1
            if row.state == TransactionState.BROADCAST:
                by_sender[row.sender].append(row)
        for rows in by_sender.values():
            for place, row in enumerate(rows):
                if not self._send_one(row, result, is_first=place == 0):
                    break

    def _send_one(self, row: Transaction, result: Sent, *, is_first: bool) -> bool:
        """False when later nonces of the account need not be tried now."""
        now = timezone.now()
        attempt = max(row.attempts.all(), key=lambda item: item.pk)
        if is_first and self._is_stuck(attempt, now):
            attempt = self._bump(row, attempt, result) or attempt
        if attempt.sent_at and (now - attempt.sent_at).total_seconds() < conf().resend_seconds:
            return True
        if attempt.sent_at and is_first:
            self._gap_fill(row)
        for _ in range(3):
            try:
                self._hand_over(attempt, result)
            except TxUnderpriced as error:
                higher = self._bump(row, attempt, result)
                if higher is None:
                    self._note(row, error)
                    return False
                attempt = higher
            except AccountNonceTooLow:
                return True  # in a block already, or spent elsewhere: `track` finds out which
            except (InsufficientFunds, RpcRefused) as error:
                self._note(row, error)
                return False
            else:
                return True
        return False

    def _gap_fill(self, row: Transaction) -> None:
        """A nonce in front of ours that nobody uses any more, e.g. of a foreign transaction that left with its block:
        an empty payment to ourselves takes it, or nothing after it would ever get through."""
        missing = range(self.node.transaction_count(row.sender), row.account_nonce)[:GAP_MOST]
        taken = Transaction.objects.filter(chain=self.chain, sender=row.sender, account_nonce__in=missing)
        for nonce in sorted(set(missing) - set(taken.exclude(state="dropped").values_list("account_nonce", flat=True))):
            fees = self.node.fees()
            signed = sign_transaction(
                signing_key(row.sender),
                chain_id=self.node.conf.chain_id,
                account_nonce=nonce,
                to=row.sender,
                value=0,
                data=b"",
                gas_limit=GAS_OF_A_PAYMENT,
                fees=fees,
            )
            with transaction.atomic(durable=True):
                lease_hold(self.held, seconds=conf().lease_seconds)
                filler = Transaction.objects.create(
                    chain=self.chain,
                    sender=row.sender,
                    account_nonce=nonce,
                    lane=Lane.TRANSFER,
                    to=row.sender,
                    gas_limit=GAS_OF_A_PAYMENT,
                    count=0,
                )
                Attempt.objects.create(
                    transaction=filler,
                    tx_hash=signed.tx_hash,
                    raw=signed.raw,
                    max_fee=fees.max_fee,
                    priority_fee=fees.priority_fee,
                )
            log.error("nonce gap filled chain=%s nonce=%s", self.chain, nonce)

    def _hand_over(self, attempt: Attempt, result: Sent) -> None:
        try:
            self.node.send_raw(bytes(attempt.raw))
            fp("sending.sent")
            result.sent += 1
        except AlreadyKnown:
            pass
        attempt.sent_at = timezone.now()
        Attempt.objects.filter(pk=attempt.pk).update(sent_at=attempt.sent_at)
        fp("sending.marked")

    def _note(self, row: Transaction, error: ChainError) -> None:
        text = f"{type(error).__name__}: {error}"[:200]
        Transaction.objects.filter(pk=row.pk).update(error=text)
        OutboxItem.objects.filter(~Q(error=text), transaction=row).update(error=text)
        log.warning("transaction waits chain=%s nonce=%s error=%s", self.chain, row.account_nonce, text)

    def _is_stuck(self, attempt: Attempt, now: datetime) -> bool:
        return attempt.sent_at is not None and (now - attempt.created_at).total_seconds() >= self.node.conf.bump_seconds

    def _bump(self, row: Transaction, last: Attempt, result: Sent) -> Attempt | None:
        """A new attempt at the same nonce, dearer by what pools ask for; None at the cap or where gas is free."""
        fees = bumped(
            Fees(int(last.max_fee), int(last.priority_fee), is_legacy=bytes(last.raw)[:1] >= b"\xc0"),
            self._market(),
            percent=conf().fee_bump_percent,
            most=self.node.conf.fee_max_wei,
        )
        if fees is None:
            return None
        signed = sign_transaction(
            signing_key(row.sender),
            chain_id=self.node.conf.chain_id,
            account_nonce=row.account_nonce,
            to=row.to,
            value=int(row.value),
            data=bytes(row.data),
            gas_limit=row.gas_limit,
            fees=fees,
        )
        with transaction.atomic(durable=True):
            lease_hold(self.held, seconds=conf().lease_seconds)
            attempt = Attempt.objects.create(
                transaction=row,
                tx_hash=signed.tx_hash,
                raw=signed.raw,
                max_fee=fees.max_fee,
                priority_fee=fees.priority_fee,
            )
        fp("sending.bumped")
        log.warning("fee raised chain=%s nonce=%s tx=%s", self.chain, row.account_nonce, hex0x(signed.tx_hash))
        result.bumped += 1
        return attempt

    def _market(self) -> Fees | None:
        try:
            return self.node.fees()
        except RpcUnavailable:
            return None


def bumped(old: Fees, market: Fees | None, *, percent: float, most: int) -> Fees | None:
    """At least `percent` more on both parts, or the market's price if that is more; None beyond `most`."""

    def more(value: int) -> int:
        return value + -(-value * int(percent * 10) // 1000)

    max_fee, priority = more(old.max_fee), more(old.priority_fee)
    if market is not None and market.is_legacy == old.is_legacy:
        max_fee, priority = max(max_fee, market.max_fee), max(priority, market.priority_fee)
    if max_fee > most or max_fee == old.max_fee:
        return None
    return Fees(max_fee, min(priority, max_fee), is_legacy=old.is_legacy)
