"""The published contracts, for anybody: which code stands where, who approved it, and whether it still matches."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from chain import council
from chain.council import Act, Council
from chain.published import Published, published
from hospitals.access import public
from portal.dashboards.viewer import CHAINS


@require_safe
@public
def contracts(request: HttpRequest) -> HttpResponse:
    return render(request, "public/contracts.html", contracts_context())


def contracts_context() -> dict[str, Any]:
    """For the public page and the regulator's: both show the same."""
    chains = [{"name": name, "council": council.council(name), "rows": _rows(name)} for name in CHAINS]
    return {"chains": chains, "checked_at": timezone.now()}


def _rows(chain: str) -> list[dict[str, Any]]:
    decided = council.council(chain)
    found = published(chain)
    return [{"item": item, "approvals": [_approval(act, decided) for act in _approvals(item)]} for item in found]


def _approvals(item: Published) -> tuple[Act, ...]:
    return item.announcement.approvals if item.announcement else ()


def _approval(act: Act, decided: Council | None) -> dict[str, Any]:
    """By role and address: who the officers are stands at the regulator."""
    if act.officer and decided:
        role = _("Officer %(n)d of %(all)d") % {"n": act.officer, "all": len(decided.officers)}
    else:
        role = _("An officer who has left")
    return {"role": role, "act": act}


class ApprovalSerializer(serializers.Serializer):
    role = serializers.CharField(help_text="The place in the council of today, never a name.")
    address = serializers.CharField()
    at = serializers.DateTimeField(help_text="Time of the block.")
    tx_hash = serializers.CharField()


class AnnouncementSerializer(serializers.Serializer):
    tx_hash = serializers.CharField()
    block_number = serializers.IntegerField()
    at = serializers.DateTimeField()
    is_founding = serializers.BooleanField(help_text="Announced before the council held the right to.")


class ContractSerializer(serializers.Serializer):
    chain = serializers.CharField()
    chain_id = serializers.IntegerField()
    name = serializers.CharField()
    version = serializers.IntegerField()
    address = serializers.CharField()
    code_hash = serializers.CharField(help_text="keccak256 of the code that was deployed.")
    source_hash = serializers.CharField(help_text="SHA-256 over the hashes of the sources.")
    compiler = serializers.CharField()
    deploy_tx_hash = serializers.CharField()
    block_number = serializers.IntegerField()
    is_current = serializers.BooleanField(help_text="False: an earlier version, or one announced and not in use yet.")
    state = serializers.ChoiceField(
        choices=["match", "mismatch", "unannounced", "down"],
        help_text="What the chain says now: the same code, other code, no such announcement; or it cannot be asked.",
    )
    announcement = AnnouncementSerializer(allow_null=True)
    approvals = ApprovalSerializer(many=True, help_text="None at the founding.")


class ContractsView(APIView):
    """The published contracts of both chains. Open to everybody; no account, nothing personal."""

    authentication_classes: list = []
    permission_classes: list = []
    access = ("public", None)

    @extend_schema(operation_id="contracts", responses=ContractSerializer(many=True), auth=[])
    def get(self, request: Request) -> Response:
        found = [(row["item"], row["approvals"]) for name in CHAINS for row in _rows(name)]
        return Response(ContractSerializer([_body(*row) for row in found], many=True).data)


def _body(item: Published, approvals: list[dict[str, Any]]) -> dict[str, Any]:
    announcement = item.announcement
    names = ("chain", "chain_id", "name", "version", "address", "code_hash", "source_hash", "compiler")
    return {
        **{name: getattr(item, name) for name in (*names, "block_number", "is_current", "state")},
        "deploy_tx_hash": item.tx_hash,
        "announcement": announcement
        and {
            "tx_hash": announcement.tx_hash,
            "block_number": announcement.block_number,
            "at": announcement.at,
            "is_founding": announcement.proposal is None,
        },
        "approvals": [
            {"role": row["role"], "address": row["act"].address, "at": row["act"].at, "tx_hash": row["act"].tx_hash}
            for row in approvals
        ],
    }
