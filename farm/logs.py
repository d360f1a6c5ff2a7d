"""Logs of long-running commands: a line of text for people, or a line of JSON for programs.

Job, attempt and worker stand on every line that is logged while they are at work, whoever logs it.
"""

from __future__ import annotations

import contextvars
import json
import logging
import sys
import threading
import traceback
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from farm.credentials import redacted
from farm.log_repeats import RepeatFilter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farm.settings import Settings

#: Say little that the farm does not say itself, and much at every level below.
_CHATTY = ("celery", "kombu", "amqp", "alembic", "sqlalchemy", "obstore", "asyncio", "werkzeug")

_job: contextvars.ContextVar[str] = contextvars.ContextVar("job", default="")
_attempt: contextvars.ContextVar[int] = contextvars.ContextVar("attempt", default=0)
_worker: contextvars.ContextVar[str] = contextvars.ContextVar("worker", default="")
#: For threads that nobody told, such as Celery's own: a process has one worker, outside of tests.
_worker_of_process = ""


def name_worker(worker_id: str) -> None:
    """Puts the worker on every line of this process from now on."""
    global _worker_of_process
    _worker_of_process = worker_id


def fields(event: str, **values: Any) -> dict[str, Any]:
    """The `extra` of a line that programs look for: fields of their own beside the message.

    Args:
        event: what happened, in a word.
        values: JSON.
    """
    return {"farm_fields": {"event": event, **values}}


@contextmanager
def log_context(*, job: str = "", attempt: int = 0, worker: str = "") -> Iterator[None]:
    """Puts them on every line that is logged in the block by this thread; what is left out stays as it is."""
    given: list[tuple[contextvars.ContextVar[Any], Any]] = [
        (_job, job),
        (_attempt, attempt),
        (_worker, worker),
    ]
    tokens = [(variable, variable.set(value)) for variable, value in given if value]
    try:
        yield
    finally:
        for variable, token in reversed(tokens):
            variable.reset(token)


def configure_logging(settings: Settings) -> None:
    """Sends what is logged, warned of, or raised in a thread to standard error, in the settings' form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else TextFormatter())
    handler.addFilter(RepeatFilter())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    level = getattr(logging, settings.log_level.upper())
    root.setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(level if level == logging.DEBUG else max(level, logging.WARNING))
    logging.captureWarnings(True)
    threading.excepthook = _log_of_thread


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time` (UTC), `level`, `logger`, `message`, `worker`, and what else there is.

    Lines about a job have `job` and `attempt`; those of its course have `event` (claimed, phase, filed, failed,
    released, cancelled, superseded) and what belongs to it.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line; an exception is a field of it."""
        document: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "worker": _worker.get() or _worker_of_process,
        }
        if _job.get():
            document |= {"job": _job.get(), "attempt": _attempt.get()}
        document |= getattr(record, "farm_fields", {})
        if record.exc_info and record.exc_info[0] is not None:
            kind, error, trace = record.exc_info
            document["error"] = {
                "type": kind.__name__,
                "message": str(error),
                "trace": "".join(traceback.format_exception(kind, error, trace)),
            }
        return json.dumps(_redacted(document), ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """Time, level, what it is about, and the message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(about)s%(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The line, with the stack trace below it."""
        words = [_worker.get() or _worker_of_process, _job.get(), str(_attempt.get() or "")]
        about = " ".join(word for word in words if word)
        record.about = f"[{about}] " if about else ""
        return redacted(super().format(record))


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, dict):
        return {key: _redacted(item) for key, item in value.items()}
    return value


def _log_of_thread(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_type is SystemExit:
        return
    where = arguments.thread.name if arguments.thread else "a thread"
    error = arguments.exc_value or arguments.exc_type()
    logging.getLogger(__name__).error(
        "%s ended with an error", where, exc_info=(arguments.exc_type, error, arguments.exc_traceback)
    )
