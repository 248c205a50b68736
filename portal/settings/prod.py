"""Production: every secret and address comes from the environment or from a file it names."""

from portal.settings.base import *  # noqa: F403
from portal.settings.base import CELERY_BROKER_TRANSPORT_OPTIONS, CHAIN, CONTENT_SECURITY_POLICY, env

SECRET_KEY = env.text("PORTAL_SECRET_KEY")
SECRET_KEY_FALLBACKS = env.words("PORTAL_SECRET_KEY_FALLBACKS", [])
ALLOWED_HOSTS = env.words("PORTAL_HOSTS")
CSRF_TRUSTED_ORIGINS = [f"https://{host}" for host in ALLOWED_HOSTS]
DATABASES = {"default": env.database("PORTAL_DATABASE_URL", None) or env.text("PORTAL_DATABASE_URL")}
REDIS_URL = env.text("PORTAL_REDIS_URL")
for _name in ("SUP", "MED"):
    for _what in ("RPC_URL", "CHAIN_ID", "FINALITY"):
        env.text(f"PORTAL_{_name}_{_what}")
CHAIN = {
    **CHAIN,
    "council_officers": tuple(env.words("PORTAL_COUNCIL_OFFICERS")),
    "council_delay_seconds": env.integer("PORTAL_COUNCIL_DELAY_SECONDS", 48 * 3600),
}
CELERY_BROKER_TRANSPORT_OPTIONS = {**CELERY_BROKER_TRANSPORT_OPTIONS, "health_check_interval": 30}

SECURE_SSL_REDIRECT = env.boolean("PORTAL_SSL_REDIRECT", True)
SECURE_HSTS_SECONDS = 2 * 365 * 24 * 3600
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
# Only when the proxy in front strips the header from clients and sets it itself.
if env.boolean("PORTAL_BEHIND_PROXY", False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    ALLAUTH_TRUSTED_PROXY_COUNT = 1  # limits count the client that our proxy saw, not what a client claims
SESSION_COOKIE_SECURE = True
SESSION_COOKIE_NAME = "__Host-session"
CSRF_COOKIE_SECURE = True
CSRF_COOKIE_NAME = "__Host-csrf"
CONTENT_SECURITY_POLICY = {"DIRECTIVES": {**CONTENT_SECURITY_POLICY["DIRECTIVES"], "upgrade-insecure-requests": True}}
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https"
EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
EMAIL_HOST = env.text("PORTAL_SMTP_HOST", "localhost")
EMAIL_PORT = env.integer("PORTAL_SMTP_PORT", 25)
EMAIL_HOST_USER = env.text("PORTAL_SMTP_USER", "")
EMAIL_HOST_PASSWORD = env.text("PORTAL_SMTP_PASSWORD", "")
EMAIL_USE_TLS = env.boolean("PORTAL_SMTP_TLS", False)
