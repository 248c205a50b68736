"""For pytest. PORTAL_TEST_DATABASE chooses sqlite or postgres (tests/postgres.py starts one)."""

import tempfile
from pathlib import Path

from portal.settings.base import *  # noqa: F403
from portal.settings.base import CHAIN, DATABASES, STORAGES, env

PORTAL_STATE = Path(tempfile.mkdtemp(prefix="portal-test-"))
SECRET_KEY = "tests-only-" + "x" * 50
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = True
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
STORAGES = {**STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
WHITENOISE_AUTOREFRESH = True
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
CELERY_BROKER_URL = "memory://"
CELERY_TASK_ALWAYS_EAGER = False
if env.text("PORTAL_TEST_DATABASE", "sqlite") == "postgres":
    DATABASES = {"default": env.database("PORTAL_DATABASE_URL", None)}
else:
    # A file, not memory: two connections of one test must see each other as they do in production.
    DATABASES["default"]["TEST"] = {"NAME": PORTAL_STATE / "test.sqlite3"}
    # Nobody cuts the power of a test run, and waiting for the disk at each commit takes most of its time.
    DATABASES["default"]["OPTIONS"]["init_command"] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
CHAIN = {
    **CHAIN,
    "chains": {name: {**chain, "finality": "depth:3"} for name, chain in CHAIN["chains"].items()},
    "deployments_dir": PORTAL_STATE / "deployments",
    "deployer_key_file": PORTAL_STATE / "keys" / "deployer.key",
}
HOSPITALS = {"root_key_file": PORTAL_STATE / "keys" / "root.key", "regulator_needs_passkey": False}
