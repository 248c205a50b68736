"""The pages by audience; each audience keeps its routes in its own file and namespace."""

from django.urls import include, path

urlpatterns = [
    path("", include("portal.dashboards.urls_public")),
    path("h/<slug:slug>/", include("portal.dashboards.urls_hospital")),
    path("me/", include("portal.dashboards.urls_patient")),
    path("regulator/", include("portal.dashboards.urls_regulator")),
    path("operator/", include("portal.dashboards.urls_operator")),
]
