"""For operators: states, sizes and times of the pipeline. No patient, title, name, content or key stands here."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from hospitals.admin import ReadOnlyAdmin, organisations_of
from hospitals.tenancy import tenants
from records.models import Anchor, Epoch, RecordVersion, Upload


class TenantAdmin(ReadOnlyAdmin):
    """Rows of the organisations that the operator administers, and of no other."""

    list_select_related = ["hospital"]
    list_filter = ["state"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return self.model.objects.filter(hospital__in=organisations_of(request.user))

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return self._scoped(request, lambda: super(TenantAdmin, self).changelist_view(request, extra_context))

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._scoped(request, lambda: super(TenantAdmin, self).changeform_view(request, *args, **kwargs))

    @staticmethod
    def _scoped(request: HttpRequest, view: Any) -> HttpResponse:
        with tenants(organisations_of(request.user)):
            response = view()
            # A lazy template would ask for its rows after the scope has closed.
            return response.render() if hasattr(response, "render") and not response.is_rendered else response


@admin.register(Upload)
class UploadAdmin(TenantAdmin):
    list_display = ["id", "hospital", "state", "reason_code", "size", "attempts", "created_at", "finished_at"]
    fields = ["id", "hospital", "state", "reason_code", "chains", "size", "attempts", "created_at", "finished_at"]


@admin.register(RecordVersion)
class RecordVersionAdmin(TenantAdmin):
    list_display = ["id", "hospital", "number", "state", "epoch", "chains", "size", "created_at", "final_at"]
    fields = ["id", "hospital", "number", "state", "epoch", "chains", "size", "created_at", "final_at", "superseded_at"]


@admin.register(Epoch)
class EpochAdmin(TenantAdmin):
    list_filter = ["reason"]
    list_display = ["id", "hospital", "number", "suite", "reason", "ciphertext_size", "created_at", "retired_at"]
    fields = ["id", "hospital", "number", "suite", "reason", "ciphertext_size", "created_at", "retired_at"]


@admin.register(Anchor)
class AnchorAdmin(TenantAdmin):
    list_filter = ["chain", "state"]
    list_display = ["ref", "hospital", "chain", "state", "block_number", "block_time"]
    fields = ["ref", "hospital", "chain", "state", "block_number", "block_time"]
