"""Checking a record without an account: the file is read in the browser, only roots and key ids come here."""

import re
from pathlib import Path

from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from chain import accesslog, codec
from chain.artefacts import deployment
from chain.errors import ChainError, DeploymentMismatch
from chain.gateway import Gateway, checksum, gateway
from chain.selectors import sync_status
from chain.types import hex0x
from hospitals.access import public
from hospitals.selectors import signing_keys
from records.verification.status import status_of_leaf

CHECKER = Path(__file__).resolve().parents[2] / "records" / "verification" / "verify_receipt.py"
CHAINS = ("SUP", "MED")
INVALID = {
    "error": {"code": "invalid", "message": "A value is missing or malformed.", "action": "See docs/formats.md."}
}
DOWN = {"error": {"code": "chain_down", "message": "The chain does not answer.", "action": "Try again in a moment."}}


@require_GET
@public
def verify(request: HttpRequest) -> HttpResponse:
    return render(request, "public/verify.html")


@require_GET
@public
def checker(request: HttpRequest) -> FileResponse:
    """The offline program, the very file that the tests run."""
    return FileResponse(CHECKER.open("rb"), as_attachment=True, content_type="text/x-python; charset=utf-8")


@require_GET
@public
def trust(request: HttpRequest) -> JsonResponse:
    """The contracts and hospital keys a receipt may name, for verify_receipt.py --trust."""
    contracts = [
        {"chain": name, "chain_id": chain_id, "name": kind, "contract": checksum(address)}
        for name in CHAINS
        for chain_id, address, kind in _contracts(name)
    ]
    return JsonResponse({"v": 1, "contracts": contracts, "keys": signing_keys()})


@require_GET
@public
def anchored(request: HttpRequest) -> JsonResponse:
    """What a chain holds about one root. Nothing here tells who asks about which file."""
    name, root, leaf = (request.GET.get(key, "") for key in ("chain", "root", "leaf"))
    contract, kids = request.GET.get("contract", "").lower(), request.GET.getlist("kid")[:4]
    if (
        name not in CHAINS
        or not _is_hex(root, 32, "0x")
        or not _is_hex(leaf, 32)
        or not all(_is_hex(k, 32) for k in kids)
    ):
        return JsonResponse(INVALID, status=400)
    try:
        return JsonResponse(
            _answer(name, bytes.fromhex(root[2:]), contract, kids) | {"status": status_of_leaf(bytes.fromhex(leaf))}
        )
    except ChainError:
        return JsonResponse(DOWN, status=503)


@require_GET
@public
def log_map(request: HttpRequest) -> JsonResponse:
    """What a chain holds about the map of a log, and whether a newer one followed. Nobody's list comes here."""
    name, root, kid = (request.GET.get(key, "") for key in ("chain", "root", "kid"))
    if name not in CHAINS or not _is_hex(root, 32, "0x") or not _is_hex(kid, 32):
        return JsonResponse(INVALID, status=400)
    try:
        return JsonResponse(_map_answer(name, bytes.fromhex(root[2:]), request.GET.get("contract", "").lower(), kid))
    except ChainError:
        return JsonResponse(DOWN, status=503)


def _map_answer(name: str, root: bytes, contract: str, kid: str) -> dict:
    """From the index, which knows who anchored what in which order, and only while the node says the same."""
    answer = _answer(name, root, contract, [kid])
    answer |= {"head": min(answer["head"], sync_status(name).cursor), "newer": None}
    event = accesslog.anchor_indexed(chain=name, root=root, kind="AuditHeads")
    if event is None or answer["anchored"] is None:
        return answer | {"anchored": None}
    answer["anchored"]["organisation"] = event.args["organisation"]
    if later := accesslog.anchor_after(event):
        answer["newer"] = {"block_number": later.block_number, "block_time": f"{later.block_time:%Y-%m-%dT%H:%M:%SZ}"}
    return answer


def _answer(name: str, root: bytes, contract: str, kids: list[str]) -> dict:
    known = {hex0x(address): address for _, address, kind in _contracts(name) if kind == "AnchorLog"}
    node = gateway(name)
    answer = {"is_known": contract in known, "head": node.head().number, "anchored": None, "hospitals": {}}
    if answer["is_known"] and (held := _anchor(node, known[contract], root))[0]:
        number, count = held[0], held[2]
        block = node.block_by_number(number)
        answer["anchored"] = {"block_number": number, "count": count, "block_hash": "0x" + block.hash.hex()}
    return answer | {"hospitals": signing_keys([bytes.fromhex(kid) for kid in kids])}


def _contracts(name: str) -> list[tuple[int, bytes, str]]:
    """Earlier versions, too: a receipt names the contract that its record was anchored with, for ever."""
    try:
        place = deployment(name)
    except DeploymentMismatch:
        return []
    return [(place.chain_id, address, kind) for address, kind in place.names.items()]


def _anchor(node: Gateway, contract: bytes, root: bytes) -> tuple:
    function = codec.function("AnchorLog", "anchorOf")
    return function.decode_result(node.call_raw(contract, function.encode([root])))


def _is_hex(value: str, length: int, prefix: str = "") -> bool:
    return bool(re.fullmatch(f"{prefix}[0-9a-f]{{{2 * length}}}", value))
