"""The pages by audience; each audience keeps its routes in its own file and namespace."""

from importlib.util import find_spec

from django.urls import include, path


def part(prefix: str, module: str) -> list:
    return [path(prefix, include(f"portal.dashboards.{module}"))] if find_spec(f"portal.dashboards.{module}") else []


urlpatterns = [
    *part("", "urls_public"),
    *part("h/<slug:slug>/", "urls_hospital"),
    *part("me/", "urls_patient"),
    *part("regulator/", "urls_regulator"),
]
