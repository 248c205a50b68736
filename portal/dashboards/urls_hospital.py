"""Routes of a hospital's staff pages, under /h/<slug>/."""

from django.urls import path

from portal.dashboards import (
    hospital,
    hospital_claims,
    hospital_figures,
    hospital_log,
    hospital_patients,
    hospital_records,
    hospital_settings,
    hospital_staff,
    hospital_uploads,
)

app_name = "hospital"
urlpatterns = [
    path("", hospital.home, name="home"),
    path("home/secure", hospital.secure, name="secure"),
    path("home/chains", hospital.chains, name="chains"),
    path("patients/", hospital_patients.search, name="patients"),
    path("patients/new/", hospital_patients.register, name="patient_new"),
    path("patients/claims/", hospital_claims.claims, name="claims"),
    path("patients/claims/<uuid:claim_id>/", hospital_claims.decide, name="claim_decide"),
    path("patients/<uuid:patient_id>/", hospital_patients.patient, name="patient"),
    path("patients/<uuid:patient_id>/log/", hospital_patients.log, name="patient_log"),
    path("patients/<uuid:patient_id>/upload/", hospital_uploads.upload, name="upload_for"),
    path("records/<uuid:record_id>/", hospital_records.record, name="record"),
    path("records/<uuid:record_id>/versions/new/", hospital_uploads.version_new, name="version_new"),
    path("records/<uuid:record_id>/versions/<int:number>/", hospital_records.record, name="record_version"),
    path("records/<uuid:record_id>/versions/<int:number>/file", hospital_records.file, name="record_file"),
    path("records/<uuid:record_id>/versions/<int:number>/print/", hospital_records.print_page, name="record_print"),
    path("records/<uuid:record_id>/versions/<int:number>/receipt", hospital_records.receipt, name="record_receipt"),
    path("records/<uuid:record_id>/versions/<int:number>/proof", hospital_records.proof, name="record_proof"),
    path("records/<uuid:record_id>/withdraw/", hospital_records.withdraw, name="record_withdraw"),
    path("upload/", hospital_patients.pick, name="upload"),
    path("uploads/", hospital_uploads.jobs, name="jobs"),
    path("uploads/states", hospital_uploads.states, name="upload_states"),
    path("uploads/<uuid:upload_id>/retry/", hospital_uploads.retry, name="upload_retry"),
    path("uploads/<uuid:upload_id>/discard/", hospital_uploads.discard, name="upload_discard"),
    path("shared/", hospital_records.shared, name="shared"),
    path("log/", hospital_log.log, name="log"),
    path("seals/", hospital_figures.seals, name="seals"),
    path("shares/", hospital_figures.shares, name="shares"),
    path("staff/", hospital_staff.staff, name="staff"),
    path("staff/new/", hospital_staff.staff_new, name="staff_new"),
    path("staff/<uuid:membership_id>/end/", hospital_staff.staff_end, name="staff_end"),
    path("settings/", hospital_settings.settings, name="settings"),
    path("settings/tokens/", hospital_settings.token_create, name="token_create"),
    path("settings/tokens/<uuid:token_id>/stop/", hospital_settings.token_revoke, name="token_revoke"),
]
