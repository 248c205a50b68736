"""Routes of the operators' own pages; the console at /admin/ is beside them."""

from django.urls import path

from portal.dashboards import operations

app_name = "operator"
urlpatterns = [
    path("", operations.health, name="health"),
]
