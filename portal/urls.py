"""Every route: people's pages first, then the API, then the operators' console."""

from django.contrib import admin
from django.http import JsonResponse
from django.urls import include, path
from django.views.decorators.http import require_safe
from drf_spectacular.views import SpectacularAPIView

from portal.metrics import metrics

handler400 = "portal.errors.bad_request"
handler403 = "portal.errors.forbidden"
handler404 = "portal.errors.not_found"
handler500 = "portal.errors.failed"


@require_safe
def health(request):
    """For supervisors and load balancers: this process answers. It tells nothing else."""
    return JsonResponse({"status": "ok"})


urlpatterns = [
    path("health/", health, name="health"),
    path("metrics", metrics, name="metrics"),
    path("", include("portal.dashboards.urls")),
    path("accounts/", include("portal.urls_accounts")),
    path("api/v1/", include("portal.api")),
    path("api/schema/", SpectacularAPIView.as_view(permission_classes=[]), name="api-schema"),
    path("api/", include("portal.api_docs")),
    path("admin/", admin.site.urls),
]
