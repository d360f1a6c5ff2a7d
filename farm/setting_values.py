"""From the text of a variable to its value; whatever is wrong is said with the variable's name."""

from __future__ import annotations

import math
import re
from pathlib import Path

from farm.domain.errors import InvalidRequestError
from farm.domain.stores import BucketUrl

#: What the farm is tested with; Celery finds out about others only when a job is filed already.
_BROKERS = ("redis", "rediss", "memory")


def folder_value(variable: str, text: str) -> Path:
    """A folder or a file, as a whole path.

    Raises:
        InvalidRequestError: it is a URL, or the home of nobody.
    """
    if re.match(r"[a-z][a-z0-9+.-]*://", text, re.IGNORECASE):
        raise InvalidRequestError(
            f"{variable} must be a folder, not a URL",
            hint="Name a folder; for a fleet, one that all hosts mount.",
        )
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise InvalidRequestError(f"{variable} is {text!r}, but there is no such user") from error


def store_value(variable: str, text: str) -> Path | BucketUrl:
    """A folder, or a place in a bucket.

    Raises:
        InvalidRequestError: it is neither.
    """
    return BucketUrl.parse(text) if text.startswith("s3://") else folder_value(variable, text)


def sqlite_url(path: Path) -> str:
    """The URL of a database in a file."""
    # A folder may have any name, and these two characters mean something in a URL.
    return "sqlite:///" + str(path).replace("%", "%25").replace("?", "%3F")


def broker_value(variable: str, text: str) -> str:
    """The URL of a broker; with TLS its certificate is checked unless the URL says otherwise.

    Raises:
        InvalidRequestError: it is no URL of a Redis.
    """
    scheme = re.match(r"([a-z][a-z0-9+.-]*)://", text)
    if scheme is None or scheme[1] not in _BROKERS:
        # Not the text itself: there may be a password in it.
        raise InvalidRequestError(
            f"{variable} must be the URL of a Redis" + (f", not of {scheme[1]}" if scheme else ""),
            hint="Such as redis://host:6379/0, or rediss:// with TLS; leave it out for the embedded farm.",
        )
    if text.startswith("rediss://") and "ssl_cert_reqs=" not in text:
        # Left alone, kombu would check no certificate at all.
        return text + ("&" if "?" in text else "?") + "ssl_cert_reqs=required"
    return text


def choice_value(variable: str, text: str, choices: tuple[str, ...]) -> str:
    """One of a few words.

    Raises:
        InvalidRequestError: it is none of them.
    """
    if text.lower() not in choices:
        raise InvalidRequestError(f"{variable} must be one of {', '.join(choices)}, not {text!r}")
    return text.lower()


def seconds_value(variable: str, text: str) -> float:
    """Seconds above zero.

    Raises:
        InvalidRequestError: it is no such number.
    """
    return _above_zero(variable, text, "seconds")


def hours_value(variable: str, text: str) -> float:
    """Hours above zero.

    Raises:
        InvalidRequestError: it is no such number.
    """
    return _above_zero(variable, text, "hours")


def _above_zero(variable: str, text: str, unit: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not (number > 0 and math.isfinite(number)):
        raise InvalidRequestError(f"{variable} must be a number of {unit} above zero, not {text!r}")
    return number


def size_value(variable: str, text: str) -> int:
    """Bytes, or `512M`, `64G`, `1T`: powers of 1024.

    Raises:
        InvalidRequestError: it is no size.
    """
    found = re.fullmatch(r"(\d+)([KMGT]?)(i?B)?", text.strip(), re.IGNORECASE)
    if not found:
        raise InvalidRequestError(f"{variable} must be a size such as 512M or 64G, not {text!r}")
    return int(found[1]) << 10 * " KMGT".index(found[2].upper() or " ")
