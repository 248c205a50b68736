"""Errors of this app. Each says whether a retry can help and what the person should do."""

from __future__ import annotations


class RecordsError(Exception):
    """Base: `http_status`, `code`, `title` and `user_message` are what pages and API show."""

    http_status = 400
    code = "records_error"
    title = "That did not work"
    is_retryable = False

    def __init__(self, user_message: str = "", *, code: str = "", title: str = "") -> None:
        super().__init__(code or self.code)
        self.user_message = user_message or "Nothing was changed. Try again, or ask your administrator."
        self.code = code or self.code
        self.title = title or self.title


class NotFound(RecordsError):
    """Absent, foreign and refused look the same from outside."""

    http_status = 404
    code = "not_found"
    title = "Not found"


class UploadRefused(RecordsError):
    """The file was turned away at the door; nothing of it is stored."""

    http_status = 422
    code = "upload_refused"
    title = "This file was not accepted"


class QuotaExceeded(UploadRefused):
    http_status = 413
    code = "quota_exceeded"
    title = "The storage of this hospital is full"


class StorageFull(RecordsError):
    """No room on the disk: nothing of the file was kept."""

    http_status = 507
    code = "storage_full"
    title = "There is no room left to store files"
    is_retryable = True

    def __init__(self) -> None:
        super().__init__(
            "The file was not accepted and nothing of it was kept. Keep your copy, tell your administrator "
            "that the storage is full, and upload it again later."
        )


class BlobMissing(RecordsError):
    """The store does not hold what the database says it holds."""

    http_status = 503
    code = "blob_missing"
    title = "This file cannot be read at the moment"

    def __init__(self) -> None:
        super().__init__("The stored file is missing. Your administrator was told; nothing was shown.")


class RecordAltered(RecordsError):
    """Stored bytes, keys or signatures do not fit: nothing is shown."""

    http_status = 409
    code = "record_altered"
    title = "This record does not match its proof"

    def __init__(self) -> None:
        super().__init__("The stored file was altered or damaged, so it is not shown. Your administrator was told.")


class WrapMissing(RecordAltered):
    """No wrap of the data key for this reader."""


class ChainUnavailable(RecordsError):
    """Consent cannot be checked now, so what rests on consent stays closed."""

    http_status = 503
    code = "chain_unavailable"
    title = "Permission cannot be checked right now"
    is_retryable = True

    def __init__(self) -> None:
        super().__init__(
            "The consent chain does not answer, so shared records stay closed. Try again in a few minutes."
        )


class Conflict(RecordsError):
    """Somebody else was first."""

    http_status = 409
    code = "conflict"
    title = "This was changed in the meantime"


class GrantInvalid(RecordsError):
    http_status = 422
    code = "grant_invalid"
    title = "This cannot be shared like that"


class Lost(Exception):
    """Another worker holds the row; whoever raises this leaves no trace."""


class RangeNotSatisfiable(RecordsError):
    """The part that was asked for lies beyond the end."""

    http_status = 416
    code = "range_not_satisfiable"
    title = "This part of the file does not exist"

    def __init__(self, size: int) -> None:
        self.size = size
        super().__init__(f"The file has {size} bytes. Ask for a range inside it, or for the whole file.")
