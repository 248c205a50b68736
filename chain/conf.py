"""Settings of this app, from the CHAIN dict."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


@dataclass(frozen=True)
class Finality:
    """When a block counts as final: at once, when the node says so, or with n blocks on top."""

    mode: str
    depth: int = 0

    @classmethod
    def parse(cls, text: str) -> "Finality":
        mode, _, depth = text.partition(":")
        if mode in ("instant", "tag") and not depth:
            return cls(mode)
        if mode == "depth" and depth.isdecimal() and int(depth) > 0:
            return cls(mode, int(depth))
        raise ImproperlyConfigured(f"finality is 'instant', 'tag' or 'depth:n', not {text!r}")

    def depth_of(self, head: int, finalized: int) -> int:
        """Blocks on top that make a block final; where the node says so, as far behind as it is now."""
        if self.mode == "tag":
            return max(1, head - finalized)
        return self.depth


@dataclass(frozen=True)
class ChainConf:
    name: str
    rpc_url: str
    chain_id: int
    finality: Finality
    rpc_url_2: str = ""  # a second, independent node: what opens a record needs both
    block_time_seconds: int = 1
    gas_price_wei: int | None = None  # a number: legacy transactions at that price (0 on a consortium chain)
    connect_seconds: float = 2.0
    read_seconds: float = 10.0
    body_bytes_max: int = 8 * 1024 * 1024
    calls_per_batch: int = 20
    window_blocks: int = 1000
    window_blocks_max: int = 50_000
    tail_blocks: int = 64
    bump_seconds: int = 45
    fee_max_wei: int = 500 * 10**9
    balance_low_wei: int = 10**17


@dataclass(frozen=True)
class Conf:
    chains: Mapping[str, ChainConf]
    deployments_dir: Path
    signer: str
    deployer_key_file: Path
    artefacts_dir: Path | None = None
    council_officers: tuple[str, ...] = ()  # addresses; none: key files beside the deployer's, made on first use
    council_threshold: int = 2
    council_delay_seconds: int = 48 * 3600
    batch_leaves: int = 1024  # closes a batch at once
    batch_leaves_max: int = 4096  # what one may hold when more has piled up
    batch_seconds: float = 2.0
    access_leaves: int = 256
    access_seconds: float = 1.0
    consents_per_batch: int = 64
    in_flight_max: int = 16
    gas_margin_percent: int = 20
    fee_bump_percent: float = 12.5
    revert_patience_seconds: float = 5.0
    resend_seconds: float = 5.0
    retry_seconds: float = 5.0
    stuck_seconds: int = 600
    beat_seconds: int = 10
    dead_seconds: int = 60
    silent_seconds: int = 60
    heads_seconds: int = 600  # how often each chain's head is recorded on the other; 0 never
    lease_seconds: int = 30
    poll_seconds: float = 0.25

    def chain(self, name: str) -> ChainConf:
        try:
            return self.chains[name]
        except KeyError:
            raise ImproperlyConfigured(f"CHAIN has no chain {name!r}") from None


def _checked(cls: type, values: Mapping[str, Any], where: str) -> dict[str, Any]:
    unknown = set(values) - {f.name for f in fields(cls)}
    if unknown:
        raise ImproperlyConfigured(f"{where} has unknown keys: {', '.join(sorted(unknown))}")
    return dict(values)


def _build(values: Mapping[str, Any]) -> Conf:
    built = _checked(Conf, values, "CHAIN")
    chains = {}
    for name, chain in built.pop("chains").items():
        chosen = _checked(ChainConf, chain, f"CHAIN['chains'][{name!r}]")
        chosen["finality"] = Finality.parse(chosen.get("finality", "depth:3"))
        chains[name] = ChainConf(name=name, **chosen)
    for key in ("deployments_dir", "deployer_key_file"):
        built[key] = Path(built[key])
    return Conf(chains=chains, **built)


_cache: tuple[Mapping[str, Any], Conf] | None = None


def conf() -> Conf:
    """Built once for each settings dict; an override in a test gives a new one."""
    global _cache
    values = settings.CHAIN
    if _cache is None or _cache[0] is not values:
        _cache = (values, _build(values))
    return _cache[1]
