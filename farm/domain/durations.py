"""Spans of time as people write them: `90`, `90s`, `30m`, `2h`, `1h30m`, `7d`."""

from __future__ import annotations

import re

from farm.domain.errors import InvalidSpecError

_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def parse_duration(text: str) -> int:
    """Whole seconds; a plain number is seconds.

    Raises:
        InvalidSpecError: it is no span of time, or none above zero.
    """
    words = str(text).strip().lower()
    parts = re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?", words)
    seconds = 0
    if parts and words:
        seconds = sum(int(part) * size for part, size in zip(parts.groups(), _SECONDS.values()) if part)
    if seconds < 1:
        raise InvalidSpecError(
            f"not a span of time: {text!r}", hint="Write seconds, or a span such as 90s, 30m, 2h or 1h30m."
        )
    return seconds


def duration_text(seconds: float) -> str:
    """The shortest way to write a span, to two units: `2h`, `1h30m`, `45s`."""
    left, parts = round(seconds), []
    for unit, size in _SECONDS.items():
        if left >= size:
            parts.append(f"{left // size}{unit}")
            left %= size
    return "".join(parts[:2]) or "0s"
