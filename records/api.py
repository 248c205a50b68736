"""The API of records, uploads and grants. Same gate, same log and same not-found as the pages."""

from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

import hospitals.selectors as people
from hospitals.api import PAGING
from hospitals.api_access import ApiView, MemberView, PatientView
from hospitals.api_pages import page_of, page_serializer, slice_of
from hospitals.models import Membership, Organisation, Patient
from hospitals.roles import Permission
from hospitals.services import looks
from hospitals.tenancy import tenant
from records import delivery, gate, proofs, receipts, selectors, services
from records.models import AccessGrant, Purpose, RecordVersion, Upload
from records.serializers import (
    GrantSerializer,
    GrantWishSerializer,
    RecordRowSerializer,
    RecordSerializer,
    UploadSerializer,
    UploadWishSerializer,
)

VERSION = OpenApiParameter("version", int, description="A version number; the newest unless told.")
PURPOSE = OpenApiParameter("purpose", str, enum=list(Purpose.values), description="TREAT unless told.")
RANGE = OpenApiParameter("Range", str, OpenApiParameter.HEADER, description="One range of bytes, e.g. bytes=0-1023.")
BYTES = OpenApiResponse(OpenApiTypes.BINARY, "The bytes that the author uploaded.")


# One record, for whoever the gate lets in


class _RecordView(ApiView):
    scopes = {"GET": "records:read"}

    def version(self, request: Request, record_id: UUID) -> RecordVersion:
        wanted = request.query_params.get("version", "")
        if wanted and not (wanted.isascii() and wanted.isdigit() and 0 < len(wanted) < 7):
            raise Http404
        return gate.locate_version(actor=request.actor, record_id=record_id, number=int(wanted) if wanted else None)

    def purpose(self, request: Request) -> str:
        if request.actor.is_patient:
            return Purpose.PATIENT_REQUEST
        return request.query_params.get("purpose") or Purpose.TREATMENT


class _Metadata(_RecordView):
    def get(self, request: Request, record_id: UUID, **kwargs: Any) -> Response:
        """Title, kind, versions and proof. Asking counts as opening the record in the patient's log."""
        version = self.version(request, record_id)
        opened = gate.read_meta(actor=request.actor, version=version, purpose=self.purpose(request))
        with tenant(version.hospital_id):
            view = proofs.record_view(version=version, actor=request.actor, opened=opened)
            return Response(RecordSerializer(view).data)


class _Content(_RecordView):
    def get(self, request: Request, record_id: UUID, **kwargs: Any) -> HttpResponseBase:
        """The file, or one range of it."""
        version = self.version(request, record_id)
        return delivery.deliver(_plain(request), actor=request.actor, version=version, purpose=self.purpose(request))


class _Receipt(_RecordView):
    def get(self, request: Request, record_id: UUID, **kwargs: Any) -> HttpResponse:
        """The receipt for the offline checker: keep its bytes exactly as they come."""
        version = self.version(request, record_id)
        receipt = receipts.receipt_build(actor=request.actor, version=version, purpose=self.purpose(request))
        answer = HttpResponse(receipts.receipt_bytes(receipt), content_type="application/json")
        answer["Content-Disposition"] = 'attachment; filename="receipt.json"'
        return answer


@extend_schema_view(
    get=extend_schema(operation_id="my_record", parameters=[VERSION], responses=RecordSerializer, tags=["my data"])
)
class OwnRecordView(_Metadata, PatientView):
    pass


@extend_schema_view(
    get=extend_schema(
        operation_id="my_content",
        parameters=[VERSION, RANGE],
        responses={(200, "application/octet-stream"): BYTES, (206, "application/octet-stream"): BYTES, 416: None},
        tags=["my data"],
    )
)
class OwnContentView(_Content, PatientView):
    pass


@extend_schema_view(
    get=extend_schema(operation_id="my_receipt", parameters=[VERSION], responses=OpenApiTypes.OBJECT, tags=["my data"])
)
class OwnReceiptView(_Receipt, PatientView):
    pass


@extend_schema_view(
    get=extend_schema(
        operation_id="record", parameters=[VERSION, PURPOSE], responses=RecordSerializer, tags=["hospital"]
    )
)
class RecordView(_Metadata, MemberView):
    pass


@extend_schema_view(
    get=extend_schema(
        operation_id="content",
        parameters=[VERSION, PURPOSE, RANGE],
        responses={(200, "application/octet-stream"): BYTES, (206, "application/octet-stream"): BYTES, 416: None},
        tags=["hospital"],
    )
)
class ContentView(_Content, MemberView):
    pass


@extend_schema_view(
    get=extend_schema(
        operation_id="receipt", parameters=[VERSION, PURPOSE], responses=OpenApiTypes.OBJECT, tags=["hospital"]
    )
)
class ReceiptView(_Receipt, MemberView):
    pass


# Lists


class OwnRecordListView(PatientView):
    scopes = {"GET": "records:read"}

    @extend_schema(
        operation_id="my_records", parameters=PAGING, responses=page_serializer(RecordRowSerializer), tags=["my data"]
    )
    def get(self, request: Request) -> Response:
        """All my records, over all hospitals where I am registered, newest first."""
        return _rows(request, request.registrations)


class PatientRecordListView(MemberView):
    scopes = {"GET": "records:read"}
    permissions = {"GET": Permission.RECORD_LIST}

    @extend_schema(
        operation_id="records", parameters=PAGING, responses=page_serializer(RecordRowSerializer), tags=["hospital"]
    )
    def get(self, request: Request, slug: str, patient_id: UUID) -> Response:
        """A patient's records at this hospital, as far as this role and the patient's wishes show them."""
        patient = people.patient_visible(request.actor, patient_id)
        answer = _rows(request, [patient])
        looks.records_listed(actor=request.actor, patient=patient, count=len(answer.data["results"]))
        return answer


class SharedRecordListView(MemberView):
    scopes = {"GET": "records:read"}
    permissions = {"GET": Permission.SHARED_READ}

    @extend_schema(
        operation_id="shared", parameters=PAGING, responses=page_serializer(RecordRowSerializer), tags=["hospital"]
    )
    def get(self, request: Request, slug: str) -> Response:
        """Records of other hospitals that patients share with me now."""
        found, mark = slice_of(request, selectors.shared_with(request.membership))
        return Response({"results": RecordRowSerializer(found, many=True).data, "next": mark})


# Uploads


class UploadCreateView(MemberView):
    parser_classes = [MultiPartParser]
    scopes = {"POST": "records:write"}
    permissions = {"POST": Permission.RECORD_UPLOAD}

    @extend_schema(
        operation_id="upload",
        request={"multipart/form-data": UploadWishSerializer},
        responses={202: UploadSerializer},
        tags=["hospital"],
    )
    def post(self, request: Request, slug: str, patient_id: UUID) -> Response:
        """Seals the file while it arrives and answers at once; a worker checks it and the chain follows."""
        patient = people.patient_visible(request.actor, patient_id)
        wish = UploadWishSerializer(data=request.data)
        wish.is_valid(raise_exception=True)
        upload = _upload(request, patient, wish.validated_data)
        answer = Response(UploadSerializer(upload).data, status=202)
        answer["Location"] = f"/api/v1/h/{slug}/uploads/{upload.pk}/"
        return answer


class UploadListView(MemberView):
    scopes = {"GET": "records:write"}
    permissions = {"GET": Permission.UPLOAD_STATES}

    @extend_schema(
        operation_id="uploads", parameters=PAGING, responses=page_serializer(UploadSerializer), tags=["hospital"]
    )
    def get(self, request: Request, slug: str) -> Response:
        """My uploads and what became of them, newest first."""
        rows, mark = page_of(request, Upload.objects.filter(uploader=request.membership))
        return Response({"results": UploadSerializer(rows, many=True).data, "next": mark})


class UploadView(MemberView):
    scopes = {"GET": "records:write"}
    permissions = {"GET": Permission.UPLOAD_STATES}

    @extend_schema(operation_id="upload_state", responses=UploadSerializer, tags=["hospital"])
    def get(self, request: Request, slug: str, upload_id: UUID) -> Response:
        """What became of one of my uploads; its record is named once it is sealed."""
        upload = Upload.objects.filter(pk=upload_id, uploader=request.membership).first()
        if upload is None:
            raise Http404
        return Response(UploadSerializer(upload).data)


# Grants


class GrantListView(PatientView):
    scopes = {"GET": "grants:read", "POST": "grants:write"}

    @extend_schema(
        operation_id="my_grants", parameters=PAGING, responses=page_serializer(GrantSerializer), tags=["sharing"]
    )
    def get(self, request: Request) -> Response:
        """What I share and shared, newest first."""
        rows = AccessGrant.objects.filter(patient__in=request.registrations)
        rows = rows.select_related("hospital", "grantee_membership__user", "grantee_organisation")
        found, mark = page_of(request, rows)
        return Response({"results": GrantSerializer(found, many=True).data, "next": mark})

    @extend_schema(
        operation_id="grant_create", request=GrantWishSerializer, responses={201: GrantSerializer}, tags=["sharing"]
    )
    def post(self, request: Request) -> Response:
        """Signs the consent with my hosted key. It opens nothing until its block is final."""
        wish = GrantWishSerializer(data=request.data)
        wish.is_valid(raise_exception=True)
        values = wish.validated_data
        grant = services.grant_create(
            actor=request.actor,
            patient=_registration(request, values["registration"]),
            grantee=_grantee(request, values),
            scope_type=values["scope"],
            scope_value=values["scope_value"],
            purpose=values["purpose"],
            expires_at=values["expires_at"],
        )
        return Response(GrantSerializer(grant).data, status=201)


class GrantView(PatientView):
    scopes = {"GET": "grants:read", "DELETE": "grants:write"}

    @extend_schema(operation_id="my_grant", responses=GrantSerializer, tags=["sharing"])
    def get(self, request: Request, grant_id: UUID) -> Response:
        """One grant and its state."""
        return Response(GrantSerializer(_grant(request, grant_id)).data)

    @extend_schema(operation_id="grant_revoke", responses=GrantSerializer, tags=["sharing"])
    def delete(self, request: Request, grant_id: UUID) -> Response:
        """Stops sharing with the next request, before any block. What was read before cannot be called back."""
        grant = services.grant_revoke(actor=request.actor, grant=_grant(request, grant_id))
        return Response(GrantSerializer(grant).data)


def _plain(request: Request) -> HttpRequest:
    return request._request


def _rows(request: Request, patients: list[Patient]) -> Response:
    visible = selectors.visible_records(patients, request.actor)
    found, mark = page_of(request, visible, read=selectors.TimelineRows)
    return Response({"results": RecordRowSerializer(found, many=True).data, "next": mark})


def _upload(request: Request, patient: Patient, values: dict[str, Any]) -> Upload:
    if record_id := values.get("record"):
        record = gate.locate(actor=request.actor, record_id=record_id)
        if record.patient_id != patient.pk:
            raise Http404
        return services.version_add(
            actor=request.actor,
            record=record,
            file=values["file"],
            base_version=values.get("base_version"),
            chains=values["chains"],
        )
    return services.upload_receive(
        actor=request.actor,
        patient=patient,
        file=values["file"],
        chains=values["chains"],
        category=values["category"],
        title=values["title"],
        care_on=values.get("care_on"),
    )


def _registration(request: Request, patient_id: UUID) -> Patient:
    for patient in request.registrations:
        if patient.pk == patient_id:
            return patient
    raise Http404


def _grantee(request: Request, values: dict[str, Any]) -> Membership | Organisation:
    if "practitioner" in values:
        return people.membership_visible(request.actor, values["practitioner"])
    return people.organisation_visible(request.actor, values["organisation"])


def _grant(request: Request, grant_id: UUID) -> AccessGrant:
    rows = AccessGrant.objects.filter(patient__in=request.registrations, pk=grant_id)
    grant = rows.select_related("hospital", "patient", "grantee_membership__user", "grantee_organisation").first()
    if grant is None:
        raise Http404
    return grant
