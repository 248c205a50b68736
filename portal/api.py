"""The routes of the API; each app brings its own views. Described at /api/schema/, to read at /api/docs/."""

from django.http import HttpRequest, HttpResponse
from django.urls import path

from hospitals import api as hospitals_api
from hospitals.access import public
from portal.dashboards.contracts import ContractsView
from portal.errors import not_found
from records import api as records_api

app_name = "api"


@public
def unknown(request: HttpRequest, rest: str) -> HttpResponse:
    """Addresses that do not exist answer like ids that do not exist."""
    return not_found(request)


urlpatterns = [
    path("me/", hospitals_api.MeView.as_view(), name="me"),
    path("contracts/", ContractsView.as_view(), name="contracts"),
    path("organisations/", hospitals_api.OrganisationListView.as_view(), name="organisations"),
    path("organisations/<uuid:organisation_id>/", hospitals_api.OrganisationView.as_view(), name="organisation"),
    path("practitioners/", hospitals_api.PractitionerListView.as_view(), name="practitioners"),
    path("tokens/", hospitals_api.TokenListView.as_view(), name="tokens"),
    path("tokens/<uuid:token_id>/", hospitals_api.TokenView.as_view(), name="token"),
    # a person's own data
    path("me/records/", records_api.OwnRecordListView.as_view(), name="my-records"),
    path("me/records/<uuid:record_id>/", records_api.OwnRecordView.as_view(), name="my-record"),
    path("me/records/<uuid:record_id>/content/", records_api.OwnContentView.as_view(), name="my-content"),
    path("me/records/<uuid:record_id>/receipt/", records_api.OwnReceiptView.as_view(), name="my-receipt"),
    path("me/grants/", records_api.GrantListView.as_view(), name="my-grants"),
    path("me/grants/<uuid:grant_id>/", records_api.GrantView.as_view(), name="my-grant"),
    path("me/log/", hospitals_api.OwnLogView.as_view(), name="my-log"),
    path("me/log/state/", hospitals_api.OwnLogStateView.as_view(), name="my-log-state"),
    path("me/log/<uuid:patient_id>/export/", hospitals_api.OwnLogExportView.as_view(), name="my-log-export"),
    # staff, in one organisation
    path("h/<slug:slug>/patients/", hospitals_api.PatientListView.as_view(), name="patients"),
    path("h/<slug:slug>/patients/<uuid:patient_id>/", hospitals_api.PatientDetailView.as_view(), name="patient"),
    path(
        "h/<slug:slug>/patients/<uuid:patient_id>/records/", records_api.PatientRecordListView.as_view(), name="records"
    ),
    path("h/<slug:slug>/patients/<uuid:patient_id>/uploads/", records_api.UploadCreateView.as_view(), name="upload"),
    path("h/<slug:slug>/uploads/", records_api.UploadListView.as_view(), name="uploads"),
    path("h/<slug:slug>/uploads/<uuid:upload_id>/", records_api.UploadView.as_view(), name="upload-state"),
    path("h/<slug:slug>/shared/", records_api.SharedRecordListView.as_view(), name="shared"),
    path("h/<slug:slug>/records/<uuid:record_id>/", records_api.RecordView.as_view(), name="record"),
    path("h/<slug:slug>/records/<uuid:record_id>/content/", records_api.ContentView.as_view(), name="content"),
    path("h/<slug:slug>/records/<uuid:record_id>/receipt/", records_api.ReceiptView.as_view(), name="receipt"),
    path("h/<slug:slug>/log/", hospitals_api.HospitalLogView.as_view(), name="log"),
    path("<path:rest>", unknown),
]
