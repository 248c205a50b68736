"""What can go wrong between us and a chain. The type says whether trying again helps."""

from typing import Any


class ChainError(Exception):
    """Base of this app's errors; `retryable` is the decision a caller needs."""

    retryable = False
    http_status = 500
    code = "chain_error"
    title = "The chain could not be used"
    user_message = "Something is wrong with the connection to the chain. Nothing was lost."


class RpcUnavailable(ChainError):
    """No usable answer: the node is down, slow, cut off or speaks garbage."""

    retryable = True
    http_status = 503
    code = "chain_unavailable"
    title = "The chain cannot be reached"
    user_message = "The chain cannot be reached now. Nothing was lost; try again in a moment."


class RpcLimited(RpcUnavailable):
    """The node wants smaller or fewer questions."""

    code = "chain_limited"


class RpcInconsistent(RpcUnavailable):
    """Two answers do not fit together; another look later usually helps."""

    code = "chain_inconsistent"


class NodesDisagree(RpcInconsistent):
    """Two independent nodes of one chain contradict each other; nothing may rest on either."""

    code = "chain_disagreement"


class RpcRefused(ChainError):
    """The node understood and refuses for a reason that repetition does not change."""

    http_status = 502
    code = "chain_refused"


class AlreadyKnown(ChainError):
    """The node has this transaction already: success."""


class AccountNonceTooLow(ChainError):
    """The nonce is spent, by this transaction or by another one of the same account."""


class TxUnderpriced(ChainError):
    """The fee is too low for the pool or to replace what lies there."""

    retryable = True


class InsufficientFunds(ChainError):
    """The account cannot pay for gas; the backlog waits until it is filled."""

    retryable = True
    http_status = 503
    code = "chain_no_funds"


class Reverted(ChainError):
    """A contract refused, with its named error and arguments."""

    http_status = 409
    code = "chain_reverted"
    title = "The contract refused"
    user_message = "The contract on the chain refused this step."

    def __init__(self, name: str = "", args: tuple[Any, ...] = ()) -> None:
        super().__init__(name, args)
        self.name = name or "reverted"
        self.error_args = args

    def __str__(self) -> str:
        shown = (f"0x{a.hex()}" if isinstance(a, bytes) else str(a) for a in self.error_args)
        return f"{self.name}({', '.join(shown)})"


class ChainMismatch(ChainError):
    """The node is not on the chain that the database was built on; nothing may be signed or indexed."""

    http_status = 503
    code = "chain_mismatch"
    title = "This is another chain"
    user_message = "The portal is connected to another chain than before. Its operator has been told."


class DeploymentMismatch(ChainMismatch):
    """Contracts and records of them do not agree; the message says what to do."""


class ChainHalted(ChainError):
    """The chain contradicts what was already final; a person must look."""

    http_status = 503
    code = "chain_halted"


class LeaseLost(ChainError):
    """Another process holds the job now; this one must stop writing."""

    retryable = True


class RefConflict(ChainError):
    """The same idempotency key was used for two different wishes."""

    http_status = 409
    code = "chain_ref_conflict"


class SignerRefused(ChainError):
    """The fast constant-time signer is missing; signing in pure Python is refused."""


class UnknownContract(ChainError):
    """No artefact or deployment of that name."""


# What nodes say, lower-case, first match wins (geth, anvil, Besu, polygon-edge, Erigon, hosted providers).
MESSAGES: tuple[tuple[str, type[ChainError]], ...] = (
    ("already known", AlreadyKnown),
    ("already imported", AlreadyKnown),
    ("already exists", AlreadyKnown),
    ("known transaction", AlreadyKnown),
    ("nonce too low", AccountNonceTooLow),
    ("nonce below", AccountNonceTooLow),
    ("insufficient funds", InsufficientFunds),
    ("upfront cost exceeds", InsufficientFunds),
    ("underpriced", TxUnderpriced),
    ("less than block base fee", TxUnderpriced),
    ("less than the current base fee", TxUnderpriced),
    ("fee too low", TxUnderpriced),
    ("below configured minimum", TxUnderpriced),
    ("gas limit", RpcRefused),
    ("gas_limit", RpcRefused),
    ("intrinsic gas", RpcRefused),
    ("execution reverted", Reverted),
    ("revert", Reverted),
    ("block range", RpcLimited),
    ("range is too", RpcLimited),
    ("range too", RpcLimited),
    ("more than", RpcLimited),
    ("limit", RpcLimited),
    ("too many", RpcLimited),
    ("too large", RpcLimited),
    ("response size", RpcLimited),
    ("timeout", RpcUnavailable),
    ("timed out", RpcUnavailable),
    ("unknown block", RpcInconsistent),
    ("header not found", RpcInconsistent),
    ("block not found", RpcInconsistent),
    ("outofrange", RpcInconsistent),
    ("missing trie node", RpcInconsistent),
)


def rpc_error(code: int, message: str) -> ChainError:
    """The typed error for a node's answer."""
    lowered = message.lower()
    for text, kind in MESSAGES:
        if text in lowered:
            return kind() if kind is Reverted else kind(message[:200])
    if code == 3:
        return Reverted()
    if code == -32005:
        return RpcLimited(message[:200])
    return RpcRefused(f"{code}: {message[:200]}")
