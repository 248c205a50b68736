"""Where people read what the API does."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.http import require_safe

from hospitals.access import public


@require_safe
@public
def docs(request: HttpRequest) -> HttpResponse:
    """Swagger UI from this server's own files, started by a script file, as the content policy wants it."""
    return render(request, "public/api_docs.html")


urlpatterns = [path("docs/", docs, name="api-docs")]
