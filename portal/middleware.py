"""Response headers, session limits, and the step from an exception to an answer."""

import time

from django.conf import settings
from django.contrib.auth import logout

from portal import errors

PERMISSIONS_POLICY = "camera=(), geolocation=(), microphone=(), payment=(), usb=(), browsing-topics=()"


class ResponseRules:
    """Pages of people are never cached; every answer says what may embed it."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        response = self.get_response(request)
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        response.headers.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        if not request.path.startswith(f"/{settings.STATIC_URL.strip('/')}/"):
            response.headers.setdefault("Cache-Control", "no-store")
        return response


class SessionLimits:
    """Fifteen idle minutes end a session, and so do twelve hours. Polling by an open page does not count as use."""

    RENEW_SECONDS = 60

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        # The cookie is looked at first: an anonymous request must not load, and so create, a session.
        if request.session.session_key and request.user.is_authenticated:
            self._limit(request)
        return self.get_response(request)

    def _limit(self, request):
        now, session = int(time.time()), request.session
        begun = session.setdefault("begun_at", now)
        seen = session.get("seen_at", now)
        if now - seen > settings.SESSION_IDLE_SECONDS or now - begun > settings.SESSION_COOKIE_AGE:
            logout(request)
        elif (
            "seen_at" not in session
            or now - seen >= min(self.RENEW_SECONDS, settings.SESSION_IDLE_SECONDS // 3)
            and request.headers.get("X-Polling") != "1"
        ):
            session["seen_at"] = now


class Failures:
    """Turns the projects' own exceptions into their status, as JSON for the API and as a page for people."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)

    def process_exception(self, request, exception):
        problem = errors.problem_of(exception)
        return errors.respond(request, problem) if problem else None
