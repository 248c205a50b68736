"""From an exception to a status, in one JSON shape for programs and one page for people."""

import logging
from dataclasses import dataclass, replace

import redis.exceptions
from django.core.exceptions import PermissionDenied
from django.db.utils import OperationalError
from django.http import Http404, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from rest_framework.exceptions import APIException
from rest_framework.views import exception_handler

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Problem:
    status: int
    code: str
    title: str
    message: str


NOT_FOUND = Problem(404, "not_found", "Page not found", "Check the address, or go back to your start page.")
FORBIDDEN = Problem(403, "forbidden", "You may not do this", "Your role does not include this step.")
BAD_REQUEST = Problem(400, "bad_request", "That request could not be read", "Go back and try again.")
EXPIRED = Problem(
    403,
    "form_expired",
    "This form has expired",
    "Nothing was changed. Go back, reload the page and send it again.",
)
UNAVAILABLE = Problem(
    503,
    "try_again",
    "Please try again in a moment",
    "A part of the portal is not answering. Nothing that was accepted is lost.",
)
FAILED = Problem(
    500,
    "failed",
    "Something went wrong on our side",
    "The fault was logged without your data. Nothing that was accepted is lost.",
)


def problem_of(exception):
    """The answer for one of our own errors, or None when the framework knows better."""
    if isinstance(exception, (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)):
        return UNAVAILABLE
    if isinstance(exception, OperationalError) and "locked" in str(exception):
        return UNAVAILABLE
    status = getattr(exception, "http_status", None)
    if status is None:
        return None
    like = {403: FORBIDDEN, 404: NOT_FOUND, 503: UNAVAILABLE}.get(status, BAD_REQUEST)
    if status == 404:
        return like  # says nothing about what was looked for
    return Problem(
        status,
        getattr(exception, "code", like.code),
        getattr(exception, "title", like.title),
        getattr(exception, "user_message", like.message),
    )


def body(problem):
    """One shape for programs: what happened, and what to do next."""
    if problem.status == 404:
        return {"error": {"code": "not_found", "message": "Not found.", "action": "Check the address and the id."}}
    return {"error": {"code": problem.code, "message": f"{problem.title}.", "action": problem.message}}


def wants_json(request):
    return request.path.startswith("/api/")


def respond(request, problem):
    if problem.status >= 500:
        log.error("answered %s %s for %s", problem.status, problem.code, request.method)
    if wants_json(request):
        return JsonResponse(body(problem), status=problem.status)
    # htmx swaps 4xx bodies in, so a fragment answers a fragment's request.
    name = "errors/fragment.html" if request.headers.get("HX-Request") == "true" else "errors/error.html"
    return HttpResponse(render_to_string(name, {"problem": problem}, request), status=problem.status)


# What a program's author does about the errors that the framework finds by itself.
API_ACTIONS = {
    "not_authenticated": "Sign in, or send a personal access token: Authorization: Token …",
    "authentication_failed": "Make a new personal access token, or sign in again.",
    "permission_denied": "Your role or your token does not include this step.",
    "method_not_allowed": "See the description of this address at /api/docs/.",
    "unsupported_media_type": "See the accepted content types at /api/docs/.",
    "not_acceptable": "Ask for application/json.",
    "parse_error": "Send well-formed JSON, or a multipart form for files.",
    "throttled": "Wait and try again.",
    "invalid": "Correct the named fields and send it again.",
}


def api_exception(exception, context):
    """REST framework's handler, in our shape."""
    problem = problem_of(exception)
    if isinstance(exception, Http404):
        problem = NOT_FOUND
    elif isinstance(exception, PermissionDenied):
        problem = FORBIDDEN if not str(exception) else replace(FORBIDDEN, message=str(exception))
    if problem:
        return _api_response(exception, context, problem)
    response = exception_handler(exception, context)
    if response is None:
        return None
    code = _code_of(exception)
    error = {
        "code": code,
        "message": "The request is not valid.",
        "action": API_ACTIONS.get(code, API_ACTIONS["invalid"]),
    }
    if isinstance(response.data, dict) and set(response.data) == {"detail"}:
        error["message"] = str(response.data["detail"])
    else:
        error["fields"] = response.data
    response.data = {"error": error}
    return response


def _code_of(exception):
    codes = exception.get_codes()
    return codes if isinstance(codes, str) else "invalid"


def _api_response(exception, context, problem):
    if problem.status >= 500:
        log.error("answered %s %s for the API", problem.status, problem.code)
    replacement = APIException(detail=problem.title)
    replacement.status_code = problem.status
    response = exception_handler(replacement, context)
    response.data = body(problem)
    if fields := getattr(exception, "fields", None):
        response.data["error"]["fields"] = {name: [text] for name, text in fields.items()}
    if problem.status == 416:
        response["Content-Range"] = f"bytes */{exception.size}"
    return response


def not_found(request, exception=None):
    return respond(request, NOT_FOUND)


def forbidden(request, exception=None):
    return respond(request, FORBIDDEN)


def bad_request(request, exception=None):
    return respond(request, BAD_REQUEST)


def failed(request):
    return respond(request, FAILED)


def csrf_failure(request, reason=""):
    return respond(request, EXPIRED)
