from django.apps import AppConfig


class PortalConfig(AppConfig):
    name = "portal"

    def ready(self):
        from portal import celery, checks  # noqa: F401  (registers the Celery app and the system checks)
