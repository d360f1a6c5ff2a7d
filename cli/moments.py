"""Moments that users name: how long ago, or a date."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from farm.domain.errors import InvalidRequestError

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


def begin_of(since: str, now: datetime) -> datetime:
    """The moment that `--since` means.

    Raises:
        InvalidRequestError: it means none.
    """
    found = re.fullmatch(r"(\d+)([hdw])", since.strip())
    try:
        if found:
            return now - timedelta(**{_UNITS[found[2]]: int(found[1])})
        moment = datetime.fromisoformat(since)
        return moment if moment.tzinfo else moment.astimezone()
    except (ValueError, OverflowError):
        raise InvalidRequestError(
            f"not a time: --since {since}", hint="Write 30d, 12h, 4w, or a date such as 2026-11-01."
        ) from None
