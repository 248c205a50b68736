"""One machine, no environment needed: SQLite, the embedded Redis, two local chains."""

from portal.settings.base import *  # noqa: F403
from portal.settings.base import CHAIN, HOSPITALS, PORTAL_STATE, env

DEBUG = env.boolean("PORTAL_DEBUG", False)
SECRET_KEY = env.text("PORTAL_SECRET_KEY", None) or env.kept_secret(PORTAL_STATE / "keys" / "session.key")
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
# Browsers treat http://localhost as a secure context, and passkeys work there.
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = True
# A person who tries the demo may sign in as the regulator with a one-time code.
# And need not wait ten minutes for the ledger to count the log.
HOSPITALS = {**HOSPITALS, "regulator_needs_passkey": False, "log_map_seconds": 20}
# So that a person who looks at the demo sees the chains vouch for each other.
CHAIN = {**CHAIN, "heads_seconds": env.integer("PORTAL_HEADS_SECONDS", 60)}
