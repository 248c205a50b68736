"""The Celery application and its clock. Redis may lose everything: the beat entries are sweepers over the database."""

from celery import Celery
from django.conf import settings

from portal import env

env.default_settings("portal.settings.dev")

app = Celery("portal")
# "Current app" is a property of a thread: without this, a request's thread talks to a broker that nobody named.
app.set_default()
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(lambda: settings.INSTALLED_APPS)

# By name: both write to the database, whose models are not loaded yet.
app.conf.beat_scheduler = "portal.clock:BeatingScheduler"
app.steps["worker"].add("portal.clock:WorkerPulse")
app.conf.beat_schedule = {
    # A task that waited longer than its period is worthless: the next one does the same work.
    "portal.pulse": {"task": "portal.pulse", "schedule": 10, "options": {"expires": 10}},
    "records.sweep": {"task": "records.sweep", "schedule": 5, "options": {"expires": 5}},
    "records.scrub": {"task": "records.scrub", "schedule": 3600, "options": {"expires": 3600}},
    "chain.crosscheck": {"task": "chain.crosscheck", "schedule": 60, "options": {"expires": 60}},
    # Both look which hospital is due; HOSPITALS says how often that is.
    "hospitals.log_maps": {"task": "hospitals.log_maps", "schedule": 15, "options": {"expires": 15}},
    "hospitals.log_check": {"task": "hospitals.log_check", "schedule": 60, "options": {"expires": 60}},
    "records.crosscheck": {"task": "records.crosscheck", "schedule": 60, "options": {"expires": 60}},
    "records.verify_again": {"task": "records.verify_again", "schedule": 86400, "options": {"expires": 3600}},
}
