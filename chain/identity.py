"""Is this still the chain that the database was built on? Asked at start and before anything is signed or indexed."""

from collections.abc import Sequence

from eth_utils import keccak

from chain import codec
from chain.artefacts import UNANNOUNCED, Deployed, Deployment, deployment
from chain.conf import conf
from chain.errors import ChainHalted, ChainMismatch, DeploymentMismatch, RpcInconsistent
from chain.gateway import Gateway, Look, bytes_of, gateway
from chain.models import ChainState
from chain.rpc import Call
from chain.types import hex0x


def state_checked(chain: str, look: Look) -> ChainState:
    """The chain's row, made on first sight; raises when the node is on anything but that chain."""
    wanted = conf().chain(chain).chain_id
    if look.chain_id != wanted:
        raise ChainMismatch(
            f"{chain}: the node is on chain id {look.chain_id}, expected {wanted}; "
            f"check PORTAL_{chain}_RPC_URL and PORTAL_{chain}_CHAIN_ID"
        )
    recorded = deployment(chain)
    if recorded.genesis_hash != look.genesis_hash:
        raise DeploymentMismatch(_other_chain(chain, recorded.genesis_hash, look.genesis_hash))
    state = ChainState.objects.filter(name=chain).first()
    if state is None:
        row = ChainState(name=chain, chain_id=look.chain_id, genesis_hash=look.genesis_hash)
        ChainState.objects.bulk_create([row], ignore_conflicts=True)
        state = ChainState.objects.get(name=chain)
    if (state.chain_id, bytes(state.genesis_hash)) != (look.chain_id, look.genesis_hash):
        raise ChainMismatch(_other_chain(chain, state.genesis_hash, look.genesis_hash))
    return state


def _other_chain(chain: str, ours: bytes, theirs: bytes) -> str:
    return (
        f"{chain}: the node's first block is {hex0x(theirs)[:18]}…, this portal was built on {hex0x(ours)[:18]}…; "
        "the chain was reset or replaced. Bring back its data or connect to the right node"
    )


def writable(chain: str, look: Look) -> ChainState:
    """Like `state_checked`, and nothing final is in doubt: the precondition of signing."""
    state = state_checked(chain, look)
    if state.halted_reason:
        raise ChainHalted(f"{chain}: {state.halted_reason}")
    if look.head.number < state.finalized:
        raise RpcInconsistent(f"{chain}: the node is at {look.head.number}, behind the final block {state.finalized}")
    return state


def verify_deployment(chain: str) -> Deployment:
    """Refuses when chain, first block or any contract's code is not what was recorded (O12, G7)."""
    node = gateway(chain)
    recorded = deployment(chain)
    state_checked(chain, node.look())
    contracts = list(recorded.contracts.values())
    codes = node.rpc.batch([Call("eth_getCode", (hex0x(item.address), "latest")) for item in contracts])
    for item, code in zip(contracts, codes, strict=True):
        if code == "0x":
            raise DeploymentMismatch(
                f"{chain}: {item.name} is missing at {item.checksum}. The chain lost its data, or the record is of "
                "another chain: bring the data back, or deploy anew with "
                f"`manage.py chain_deploy --chain {chain} --again`"
            )
        if keccak(bytes_of(code)) != item.code_hash:
            raise DeploymentMismatch(
                f"{chain}: foreign code at {item.checksum} where {item.name} was recorded; nothing will be written "
                "to this chain until the record in the deployments directory and the chain agree"
            )
    _verify_announced(chain, node, recorded)
    return recorded


def announced(node: Gateway, recorded: Deployment, items: Sequence[Deployed]) -> list[bool]:
    """Whether the registry announced exactly this version at this address with this code, for each."""
    release = codec.function("Registry", "releaseAt")
    registry = hex0x(recorded["Registry"].address)
    asked = [release.encode([item.name.encode().ljust(32, b"\0"), item.version]) for item in items]
    answers = node.rpc.batch([Call("eth_call", ({"to": registry, "data": hex0x(data)}, "latest")) for data in asked])
    said = [release.decode_result(bytes_of(answer)) if answer != "0x" else None for answer in answers]
    return [
        item.name in UNANNOUNCED or answer == (item.address, item.code_hash)
        for item, answer in zip(items, said, strict=True)
    ]


def _verify_announced(chain: str, node: Gateway, recorded: Deployment) -> None:
    """A record in which somebody put another address, with its right code hash, fits no announcement: those take a
    council and time."""
    items = list(recorded.contracts.values())
    for item, is_announced in zip(items, announced(node, recorded, items), strict=True):
        if not is_announced:
            raise DeploymentMismatch(
                f"{chain}: the registry never announced version {item.version} of {item.name} at {item.checksum}; "
                "nothing will be written to this chain until the record in the deployments directory is the right one"
            )
