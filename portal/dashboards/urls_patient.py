"""Routes of the patients' pages."""

from django.urls import path

from portal.dashboards import patient, patient_sharing

app_name = "patient"
urlpatterns = [
    path("", patient.home, name="home"),
    path("records/", patient.records, name="records"),
    path("records/<uuid:record_id>/", patient.record, name="record"),
    path("records/<uuid:record_id>/versions/<int:number>/", patient.record, name="version"),
    path("records/<uuid:record_id>/versions/<int:number>/file", patient.file, name="file"),
    path("records/<uuid:record_id>/versions/<int:number>/receipt", patient.receipt, name="receipt"),
    path("log/", patient.log, name="log"),
    path("log/export.csv", patient.log_csv, name="log-csv"),
    path("log/<uuid:patient_id>/proof", patient.log_proof, name="log-proof"),
    path("sharing/", patient_sharing.sharing, name="sharing"),
    path("sharing/new/", patient_sharing.share, name="share"),
    path("sharing/new/check/", patient_sharing.check, name="share-check"),
    path("sharing/new/<slug:name>/", patient_sharing.step, name="share-step"),
    path("sharing/<uuid:grant_id>/stop/", patient_sharing.stop, name="share-stop"),
]
