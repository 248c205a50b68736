"""What every environment shares. Readers of the environment stand in portal/env.py."""

import hashlib
import tempfile
from pathlib import Path

from csp.constants import NONCE, NONE, SELF

from portal import env

BASE_DIR = Path(__file__).resolve().parent.parent.parent
PORTAL_STATE = env.path("PORTAL_STATE", BASE_DIR / ".run")
DEBUG = False
ALLOWED_HOSTS = []

INSTALLED_APPS = [
    "portal",
    "records",
    "hospitals",
    "chain",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.forms",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "rest_framework",
    "drf_spectacular",
    "django_cotton",
    "django_htmx",
    "csp",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "portal.middleware.ResponseRules",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "portal.middleware.Failures",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "portal.middleware.SessionLimits",
    "hospitals.middleware.SecondStep",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "allauth.usersessions.middleware.UserSessionsMiddleware",
    "hospitals.middleware.SecondStep",
    "django_htmx.middleware.HtmxMiddleware",
]
ROOT_URLCONF = "portal.urls"
WSGI_APPLICATION = "portal.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# cotton installs its own loaders, so none are listed here.
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
            ]
        },
    }
]
COTTON_DIR = "components"

# Writers queue at BEGIN instead of failing when they upgrade a read lock half-way through a transaction.
DATABASES = {
    "default": env.database(
        "PORTAL_DATABASE_URL",
        {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": PORTAL_STATE / "portal.sqlite3",
            "OPTIONS": {
                "timeout": 20,
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-32000;",
            },
        },
    )
}


def redis_socket(state):
    """A socket path may hold 107 bytes; a deep state directory gets a short name in the temporary directory."""
    inside = state / "redis.sock"
    if len(bytes(inside)) <= 100:
        return inside
    return Path(tempfile.gettempdir()) / f"portal-{hashlib.sha256(bytes(state)).hexdigest()[:16]}" / "redis.sock"


REDIS_SOCKET = redis_socket(PORTAL_STATE)
REDIS_URL = env.text("PORTAL_REDIS_URL", "")  # empty: the embedded server on its socket
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": f"{REDIS_URL}/1" if REDIS_URL else f"unix://{REDIS_SOCKET}?db=1",
        "OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 2},
        # Values are counters and short strings; JSON keeps a poisoned cache from running code.
        "KEY_PREFIX": "portal",
    }
}

CELERY_BROKER_URL = f"{REDIS_URL}/0" if REDIS_URL else f"redis+socket://{REDIS_SOCKET}?virtual_host=0"
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A request must not hang on a broker that is gone: the sweeper finds the row in the database.
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_max": 0.2}
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 3600, "socket_connect_timeout": 1, "socket_timeout": 5}
CELERY_REDIS_SOCKET_TIMEOUT = 5
CELERY_TIMEZONE = "UTC"

AUTH_USER_MODEL = "hospitals.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "account_place"
ACCOUNT_ADAPTER = "hospitals.adapters.AccountAdapter"
ACCOUNT_FORMS = {
    name: f"portal.dashboards.account_forms.{form}"
    for name, form in {
        "login": "SignInForm",
        "signup": "RegisterForm",
        "add_email": "EmailAddForm",
        "change_password": "PasswordChangeForm",
        "set_password": "PasswordSetForm",
        "reset_password": "PasswordForgottenForm",
        "reset_password_from_key": "PasswordNewForm",
        "reauthenticate": "ConfirmForm",
    }.items()
}
ACCOUNT_ADAPTER = "hospitals.adapters.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_SIGNUP_FORM_CLASS = "portal.forms.SignupDetails"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_UNIQUE_EMAIL = True
# A known address gets the same answer as a new one: only its mailbox learns the difference.
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = True
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_MAX_EMAIL_ADDRESSES = 3
ACCOUNT_REAUTHENTICATION_TIMEOUT = 300
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = True
PASSWORD_RESET_TIMEOUT = 3600
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_SESSION_REMEMBER = False
# The lock with its stated end is hospitals.lockout; these bound one network address besides.
ACCOUNT_RATE_LIMITS = {"login_failed": "100/m/ip,40/900s/key", "login": "100/m/ip", "reauthenticate": "30/m/user"}
MFA_ADAPTER = "hospitals.adapters.MFAAdapter"
MFA_FORMS = {
    "authenticate": "portal.dashboards.account_forms.SecondStepForm",
    "reauthenticate": "portal.dashboards.account_forms.ConfirmStepForm",
    "activate_totp": "portal.dashboards.account_forms.AppForm",
    "add_webauthn": "portal.dashboards.account_forms.PasskeyForm",
}
MFA_ADAPTER = "hospitals.adapters.MFAAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = "Hospital portal"
MFA_TOTP_TOLERANCE = 1
MFA_WEBAUTHN_USER_VERIFICATION = "required"
MFA_RECOVERY_CODES_SHOW_ONCE = True
MFA_ALLOW_UNVERIFIED_EMAIL = False
FORM_RENDERER = "portal.forms.PortalRenderer"
USERSESSIONS_TRACK_ACTIVITY = False

SESSION_COOKIE_AGE = 12 * 3600  # the absolute limit; the idle limit is portal.middleware.SessionLimits
SESSION_IDLE_SECONDS = env.integer("PORTAL_SESSION_IDLE_SECONDS", 15 * 60)
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "portal.errors.csrf_failure"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF, NONCE],
        "style-src": [SELF, NONCE],
        "img-src": [SELF, "data:", "blob:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

# The sealing handler is the only one: no plaintext of an upload is written to disk or kept whole in memory.
FILE_UPLOAD_HANDLERS = ["records.ingest.SealingUploadHandler"]
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 200
DATA_UPLOAD_MAX_NUMBER_FILES = 20

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "portal" / "static_root"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "portal.statics.PortalStatics"},
}
LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True
DEFAULT_FROM_EMAIL = env.text("PORTAL_FROM_EMAIL", "portal@localhost")
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = PORTAL_STATE / "mail"

REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.LimitOffsetPagination",
    "PAGE_SIZE": 50,
    "EXCEPTION_HANDLER": "portal.errors.api_exception",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Hospital portal",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "ENUM_NAME_OVERRIDES": {
        "OrganisationStatus": "hospitals.types.OrganisationStatus",
        "RoleStatus": "hospitals.types.MembershipStatus",
        "RegistrationStatus": "hospitals.types.PatientStatus",
    },
}

# Who may read /metrics; without a token only this machine itself.
METRICS_TOKEN = env.text("PORTAL_METRICS_TOKEN", "")

# Parts that `manage.py up` starts itself unless an address for them is given.
WEB_PORT = env.integer("PORTAL_WEB_PORT", 8000)
EMBEDDED_CHAIN_PORTS = {
    name: None if env.text(f"PORTAL_{name}_RPC_URL", "") else env.integer(f"PORTAL_{name}_PORT", port)
    for name, port in (("SUP", 18545), ("MED", 18546))
}
CHAIN = {
    "chains": {
        name: {
            "rpc_url": env.text(f"PORTAL_{name}_RPC_URL", f"http://127.0.0.1:{EMBEDDED_CHAIN_PORTS[name]}"),
            "rpc_url_2": env.text(f"PORTAL_{name}_RPC_URL_2", ""),
            "chain_id": env.integer(f"PORTAL_{name}_CHAIN_ID", chain_id),
            # A killed anvil comes back up to three blocks younger, and what was final must not be among them.
            "finality": env.text(f"PORTAL_{name}_FINALITY", "depth:4"),
            "block_time_seconds": env.integer(f"PORTAL_{name}_BLOCK_TIME_SECONDS", 1),
            "gas_price_wei": env.integer(f"PORTAL_{name}_GAS_PRICE_WEI", None),
        }
        for name, chain_id in (("SUP", 31337), ("MED", 31338))
    },
    "deployments_dir": PORTAL_STATE / "deployments",
    "deployer_key_file": env.path("PORTAL_DEPLOYER_KEY_FILE", PORTAL_STATE / "keys" / "deployer.key"),
    # Who approves releases, and how long everybody can look before one counts: a minute here, two days in production.
    "council_officers": tuple(env.words("PORTAL_COUNCIL_OFFICERS", [])),
    "council_threshold": env.integer("PORTAL_COUNCIL_THRESHOLD", 2),
    "council_delay_seconds": env.integer("PORTAL_COUNCIL_DELAY_SECONDS", 60),
    "signer": "hospitals.keyring.chain_signing_key",
    "heads_seconds": env.integer("PORTAL_HEADS_SECONDS", 600),
}
HOSPITALS = {
    "root": env.text("PORTAL_ROOT", "file"),
    "root_key_file": env.path("PORTAL_ROOT_KEY_FILE", PORTAL_STATE / "keys" / "root.key"),
    "root_key": env.text("PORTAL_ROOT_KEY", ""),
}
RECORDS = {}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"no_names": {"()": "portal.logs.NoNames"}},
    "formatters": {"line": {"()": "portal.logs.LineFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["no_names"]}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        # These two print the arguments of tasks and messages.
        "celery.app.trace": {"level": "WARNING"},
        "celery.worker.strategy": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
        "django.server": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
    },
}
