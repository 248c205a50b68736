"""Every route: people's pages first, then the API, then the operators' console."""

from importlib.util import find_spec

from django.contrib import admin
from django.http import JsonResponse
from django.urls import include, path
from django.views.decorators.http import require_safe
from drf_spectacular.views import SpectacularAPIView

handler400 = "portal.errors.bad_request"
handler403 = "portal.errors.forbidden"
handler404 = "portal.errors.not_found"
handler500 = "portal.errors.failed"


def part(prefix, module):
    return [path(prefix, include(module))] if find_spec(module) else []


@require_safe
def health(request):
    """For supervisors and load balancers: this process answers. It tells nothing else."""
    return JsonResponse({"status": "ok"})


urlpatterns = [
    path("health/", health, name="health"),
    *part("", "portal.dashboards.urls"),
    *part("", "hospitals.urls"),
    *part("", "records.urls"),
    path("accounts/", include("portal.urls_accounts")),
    *part("api/v1/", "portal.api"),
    path("api/schema/", SpectacularAPIView.as_view(permission_classes=[]), name="api-schema"),
    *part("api/", "portal.api_docs"),
    path("admin/", admin.site.urls),
]
