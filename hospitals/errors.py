"""What can go wrong here, each with the answer a person gets. portal/errors.py turns them into responses."""


class HospitalsError(Exception):
    """Base; `http_status` is the decision, `user_message` names the next step."""

    http_status = 400
    code = "not_possible"
    title = "This is not possible"
    user_message = "Nothing was changed."

    def __init__(self, user_message: str = "", *, code: str = ""):
        if user_message:
            self.user_message = user_message
        if code:
            self.code = code
        super().__init__(self.user_message)


class Refused(HospitalsError):
    """The person is known here, the role does not include the step."""

    http_status = 403
    code = "forbidden"
    title = "You may not do this"
    user_message = "Your role does not include this step."


class NotFound(HospitalsError):
    """Absent and foreign look the same from outside."""

    http_status = 404
    code = "not_found"
    title = "Page not found"
    user_message = "Check the address, or go back to your start page."


class Invalid(HospitalsError):
    """Field errors of a form: `fields` maps a name to its sentence."""

    http_status = 422
    code = "invalid"
    title = "Please correct the marked fields"

    def __init__(self, fields: dict[str, str]):
        self.fields = fields
        super().__init__(" ".join(fields.values()))


class TenantError(HospitalsError):
    """A write or read outside the open tenant scope: a programming error, never shown in detail."""

    http_status = 404
    code = "not_found"


class KeyUnavailable(HospitalsError):
    """A key is missing, retired, or does not open what it was given."""

    http_status = 503
    code = "key_unavailable"
    title = "A key is not available"
    user_message = "The portal cannot open its keys now. Nothing was changed; please tell the operator."


class RootKeyError(KeyUnavailable):
    """The root key is missing or unreadable. The message is for the operator and names the file."""


class AuditUnavailable(HospitalsError):
    """No entry, no access."""

    http_status = 503
    code = "log_unavailable"
    title = "The access log is not available"
    user_message = "Nothing can be opened while access cannot be logged. Please try again in a moment."
