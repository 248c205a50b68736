"""The Celery application and its clock. Redis may lose everything: the beat entries are sweepers over the database."""

from celery import Celery
from django.conf import settings

from portal import env

env.default_settings("portal.settings.dev")

app = Celery("portal")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(lambda: settings.INSTALLED_APPS)
