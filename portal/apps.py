import sys

from django.apps import AppConfig

RECURSION_LIMIT = 1000


class PortalConfig(AppConfig):
    name = "portal"

    def ready(self):
        from chain import gateway  # noqa: F401
        from portal import celery, checks  # noqa: F401  (registers the Celery app and the system checks)

        # A library below the gateway raises the limit to 100,000 when it is imported. Then a deeply nested JSON body
        # overflows the C stack: the process dies, where with Python's own limit it answers 400.
        sys.setrecursionlimit(RECURSION_LIMIT)
