"""Where people read what the API does."""

from functools import cache

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator

from hospitals.access import public


@require_safe
@public
def docs(request: HttpRequest) -> HttpResponse:
    """A list that reads anywhere; the machine-readable description is one link away."""
    return render(request, "public/api_docs.html", {"groups": groups()})


@cache
def groups() -> dict[str, list[dict[str, str]]]:
    """Every address by subject: method, path and the first line of what it does."""
    found: dict[str, list[dict[str, str]]] = {}
    for path_, methods in SchemaGenerator().get_schema(request=None, public=True)["paths"].items():
        for method, operation in methods.items():
            words = operation.get("description", "").strip().partition("\n")[0]
            row = {"method": method.upper(), "parts": path_.strip("/").split("/"), "words": words}
            found.setdefault(operation["tags"][0], []).append(row)
    return dict(sorted(found.items()))


urlpatterns = [path("docs/", docs, name="api-docs")]
