"""The API of people, organisations, tokens and the access log. Parse, call one function, answer."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.db import transaction
from django.http import Http404, HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from hospitals import audit, log_export, selectors, services
from hospitals.access import second_factor_missing
from hospitals.actors import request_actor
from hospitals.api_access import ApiView, MemberView, PatientView
from hospitals.api_pages import page_of, page_serializer, rows_wanted
from hospitals.conf import conf
from hospitals.models import AccessToken, Patient
from hospitals.roles import Permission
from hospitals.serializers import (
    CompletenessSerializer,
    HospitalLogEntrySerializer,
    LogEntrySerializer,
    MeSerializer,
    OrganisationSerializer,
    PatientSerializer,
    PractitionerSerializer,
    TokenMadeSerializer,
    TokenSerializer,
    TokenWishSerializer,
)
from hospitals.services import looks

PAGING = [
    OpenApiParameter("cursor", str, description="The `next` of the page before."),
    OpenApiParameter("limit", int, description="Rows a page, 50 unless told, at most 200."),
]


class MeView(ApiView):
    scopes = {"GET": "organisations:read"}

    @extend_schema(operation_id="me", responses=MeSerializer, tags=["people"])
    def get(self, request: Request) -> Response:
        """Who this session or token belongs to."""
        roles, registrations = [], []
        if request.auth is None or request.auth.membership_id:
            rows = selectors.memberships_of(request.user)
            roles = rows if request.auth is None else rows.filter(pk=request.auth.membership_id)
        if request.auth is None or not request.auth.membership_id:
            registrations = selectors.registrations_of(request.user)
        user = request.user
        person = {"id": user.pk, "name": user.name, "roles": roles, "registrations": registrations}
        return Response(MeSerializer(person).data)


class OrganisationListView(ApiView):
    scopes = {"GET": "organisations:read"}

    @extend_schema(
        operation_id="organisations",
        parameters=PAGING,
        responses=page_serializer(OrganisationSerializer),
        tags=["people"],
    )
    def get(self, request: Request) -> Response:
        """Organisations that are, or were, admitted."""
        rows, mark = page_of(request, selectors.organisations_visible(request.actor), at="applied_at")
        return Response({"results": OrganisationSerializer(rows, many=True).data, "next": mark})


class OrganisationView(ApiView):
    scopes = {"GET": "organisations:read"}

    @extend_schema(operation_id="organisation", responses=OrganisationSerializer, tags=["people"])
    def get(self, request: Request, organisation_id: Any) -> Response:
        """One organisation."""
        return Response(OrganisationSerializer(selectors.organisation_visible(request.actor, organisation_id)).data)


class PractitionerListView(ApiView):
    scopes = {"GET": "organisations:read"}

    @extend_schema(
        operation_id="practitioners",
        parameters=[OpenApiParameter("q", str, required=True, description="Parts of a name or of a hospital's name.")],
        responses=PractitionerSerializer(many=True),
        tags=["people"],
    )
    def get(self, request: Request) -> Response:
        """Public entries of doctors and nurses, to name one in a grant. At most 20."""
        rows = selectors.practitioner_search(request.query_params.get("q", ""))
        return Response(PractitionerSerializer(rows, many=True).data)


class PatientListView(MemberView):
    scopes = {"GET": "patients:read"}
    permissions = {"GET": Permission.PATIENT_SEARCH}

    @extend_schema(
        operation_id="patients",
        parameters=[OpenApiParameter("q", str, required=True, description="Name parts, patient number or birth date.")],
        responses=PatientSerializer(many=True),
        tags=["hospital"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """Search patients of this hospital. Each patient that is listed sees it in their log."""
        limit = min(rows_wanted(request), conf().search_rows_max)
        text = request.query_params.get("q", "")
        rows = list(selectors.patient_search(hospital=request.hospital, text=text, limit=limit))
        looks.patients_listed(actor=request.actor, hospital=request.hospital, patients=rows)
        return Response(PatientSerializer(rows, many=True).data)


class PatientDetailView(MemberView):
    scopes = {"GET": "patients:read"}
    permissions = {"GET": Permission.PATIENT_READ}

    @extend_schema(operation_id="patient", responses=PatientSerializer, tags=["hospital"])
    def get(self, request: Request, slug: str, patient_id: Any) -> Response:
        """A patient's name and numbers, no records. The patient sees who asked."""
        patient = selectors.patient_visible(request.actor, patient_id)
        looks.patient_opened(actor=request.actor, patient=patient)
        return Response(PatientSerializer(patient).data)


class HospitalLogView(MemberView):
    scopes = {"GET": "log:read"}
    permissions = {"GET": Permission.AUDIT_READ}

    @extend_schema(
        operation_id="hospital_log",
        parameters=[*PAGING, OpenApiParameter("patient", OpenApiTypes.UUID), OpenApiParameter("action", str)],
        responses=page_serializer(HospitalLogEntrySerializer),
        tags=["log"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """The hospital's access log, newest first."""
        filters = {"action": request.query_params.get("action")}
        if wanted := request.query_params.get("patient"):
            filters["patient"] = selectors.patient_visible(request.actor, _uuid(wanted)).pk
        if "cursor" not in request.query_params:
            looks.log_opened(actor=request.actor, hospital=request.hospital)
        rows, mark = page_of(request, selectors.audit_of(request.hospital, filters), at="at")
        data = HospitalLogEntrySerializer(rows, many=True, context={"request": request}).data
        return Response({"results": data, "next": mark})


class OwnLogView(PatientView):
    scopes = {"GET": "log:read"}

    @extend_schema(
        operation_id="my_log",
        parameters=[*PAGING, OpenApiParameter("automatic", bool, description="Also what no person did.")],
        responses=page_serializer(LogEntrySerializer),
        tags=["log"],
    )
    def get(self, request: Request) -> Response:
        """Who looked at my data, newest first. Looking adds one entry that says "you"."""
        patients = request.registrations
        if "cursor" not in request.query_params:
            _log_opened(request, patients)
        automatic = request.query_params.get("automatic", "").lower() in ("1", "true", "yes")
        rows, mark = page_of(request, selectors.log_entries(patients, automatic=automatic), at="at")
        data = LogEntrySerializer(rows, many=True, context={"request": request}).data
        return Response({"results": data, "next": mark})


class OwnLogStateView(PatientView):
    scopes = {"GET": "log:read"}

    @extend_schema(operation_id="my_log_state", responses=CompletenessSerializer(many=True), tags=["log"])
    def get(self, request: Request) -> Response:
        """Whether each hospital's log of me is complete, and up to which block that is anchored."""
        states = [
            asdict(audit.verify_patient(patient)) | {"registration": patient.pk, "hospital": patient.hospital.name}
            for patient in request.registrations
        ]
        return Response(CompletenessSerializer(states, many=True).data)


class OwnLogExportView(PatientView):
    scopes = {"GET": "log:read"}

    @extend_schema(
        operation_id="my_log_export",
        responses={
            (200, "application/json"): OpenApiResponse(OpenApiTypes.BINARY, "See docs/formats.md; keep the bytes.")
        },
        tags=["log"],
    )
    def get(self, request: Request, patient_id: Any) -> HttpResponse:
        """My log at one hospital with its proof, for the offline checker (--log)."""
        patient = _own(request, patient_id)
        return log_export.response(log_export.export(actor=request.actor, patient=patient))


class TokenListView(ApiView):
    """Only a session makes tokens: a token cannot make another."""

    @extend_schema(operation_id="tokens", responses=TokenSerializer(many=True), tags=["tokens"])
    def get(self, request: Request) -> Response:
        """My tokens, without their text."""
        rows = AccessToken.objects.filter(user=request.user, revoked_at=None).select_related("membership__hospital")
        return Response(TokenSerializer(rows, many=True).data)

    @extend_schema(
        operation_id="token_create", request=TokenWishSerializer, responses={201: TokenMadeSerializer}, tags=["tokens"]
    )
    def post(self, request: Request) -> Response:
        """A personal access token. Its text is in this answer and nowhere else."""
        wish = TokenWishSerializer(data=request.data)
        wish.is_valid(raise_exception=True)
        values = wish.validated_data
        membership = None
        if slug := values.get("organisation"):
            membership = selectors.membership_for(user=request.user, slug=slug)
            if membership is None:
                raise Http404
            if missing := second_factor_missing(membership):
                raise PermissionDenied(missing)
        token, raw = services.token_create(
            actor=request_actor(request, membership),
            name=values["name"],
            scopes=values["scopes"],
            days=values.get("days"),
        )
        return Response(TokenMadeSerializer(token, context={"raw": raw}).data, status=201)


class TokenView(ApiView):
    @extend_schema(operation_id="token_revoke", request=None, responses={204: None}, tags=["tokens"])
    def delete(self, request: Request, token_id: Any) -> Response:
        """It stops working with the next request."""
        services.token_revoke(actor=request.actor, token_id=token_id)
        return Response(status=204)


def _log_opened(request: Request, patients: list[Patient]) -> None:
    with transaction.atomic(savepoint=False):
        for patient in patients:
            audit.append(
                hospital=patient.hospital, actor=request.actor, action="log.opened", patient=patient, basis="own"
            )


def _own(request: Request, patient_id: Any) -> Patient:
    for patient in request.registrations:
        if patient.pk == patient_id:
            return patient
    raise Http404


def _uuid(text: str) -> Any:
    try:
        return UUID(text)
    except ValueError:
        raise Http404 from None
