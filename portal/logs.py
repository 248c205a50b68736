"""Log lines without people: one line a record, no arguments of requests, no e-mail addresses, no line breaks."""

import logging
import re

EMAIL = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)*")
CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]")
QUERY = re.compile(r"\?[^\s\"']*")


class NoNames(logging.Filter):
    """Keeps a caller's slip out of the log: addresses and query strings are cut wherever they stand."""

    def filter(self, record):
        text = QUERY.sub("", EMAIL.sub("[address]", record.getMessage()))
        record.msg, record.args = CONTROL.sub(" ", text), None
        return True


class LineFormatter(logging.Formatter):
    """Time, level, logger, text; a traceback follows without the exception's own text, which may quote input."""

    def __init__(self):
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S%z")

    def formatException(self, exc_info):  # noqa: N802 (the base class's name)
        kind, _, trace = exc_info
        frames = []
        while trace:
            code = trace.tb_frame.f_code
            frames.append(f"  {code.co_filename}:{trace.tb_lineno} {code.co_name}")
            trace = trace.tb_next
        return "\n".join([*frames, f"  {kind.__module__}.{kind.__qualname__}"])
