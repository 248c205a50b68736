"""Routes of the regulator's console."""

from django.urls import path

from portal.dashboards import regulator, regulator_releases, regulator_rows

app_name = "regulator"
urlpatterns = [
    path("", regulator.home, name="home"),
    path("applications/", regulator.applications, name="applications"),
    path("applications/<slug:slug>/", regulator.application, name="application"),
    path("applications/<slug:slug>/evidence", regulator.evidence, name="evidence"),
    path("organisations/", regulator.organisations, name="organisations"),
    path("organisations/<slug:slug>/", regulator.organisation, name="organisation"),
    path("contracts/", regulator.contracts, name="contracts"),
    path("releases/", regulator_releases.releases, name="releases"),
    path("releases/new/", regulator_releases.propose, name="release_new"),
    path("releases/<str:chain>/<str:proposal_id>/", regulator_releases.release, name="release"),
    path("chains/", regulator.chains, name="chains"),
    path("statistics/", regulator.statistics, name="statistics"),
    path("seals/", regulator_rows.seals, name="seals"),
    path("shares/", regulator_rows.shares, name="shares"),
    path("accesses/", regulator_rows.accesses, name="accesses"),
    path("records/", regulator.query, name="query"),
]
