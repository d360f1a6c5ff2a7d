"""Failure signatures: what failures of one cause have in common, whatever the numbers and names in them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from farm.domain.jobs import Failure

#: In this order: what is more special first. Times, sizes and counts end as numbers.
_PLACEHOLDERS = (
    (re.compile(r"\b[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE), "<url>"),
    (re.compile(r"\b(?:GPU|MIG|CPU)-[0-9A-Za-z-]{4,}"), "<device>"),
    (re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.IGNORECASE), "<uuid>"),
    (re.compile(r"\b[jsw]-[0-9a-z]{8,}\b"), "<id>"),
    # Not after a placeholder: in `3/4` there is no path, nor in `<n>/<n>`.
    (re.compile(r"(?<![\w.>])(?:~|\.{1,2})?/[^\s:'\"),;]+"), "<path>"),
    (re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`"), "<name>"),
    (re.compile(r"\b0x[0-9a-f]+\b", re.IGNORECASE), "<address>"),
    (re.compile(r"\b[0-9a-f]{12,}…?", re.IGNORECASE), "<digest>"),
    (re.compile(r"\d+(?:[.,]\d+)*"), "<n>"),
)
_DIGITS = 12


def pattern_of(message: str) -> str:
    """A message with placeholders for what differs from one time to the next; the words stay.

    A pattern's pattern is itself.
    """
    text, before = " ".join(message.split()), ""
    # What a placeholder leaves beside it may be another one's, as the slash in `/'x'`. No placeholder holds
    # what any of them looks for, so this ends.
    while text != before:
        before = text
        for found, placeholder in _PLACEHOLDERS:
            text = found.sub(placeholder, text)
    return text


def signature_of(failure: Failure) -> str:
    """Twelve hexadecimal digits: the same for failures with one code, phase and pattern."""
    words = "\n".join((failure.code, failure.phase, pattern_of(failure.message)))
    return hashlib.sha256(words.encode("utf-8", "replace")).hexdigest()[:_DIGITS]


@dataclass(frozen=True)
class FailureGroup:
    """Attempts that failed for what seems to be one cause.

    Attributes:
        signature: what they have in common.
        code: of the failure, such as `OutOfMemoryError`.
        phase: it happened in.
        attempts: how many.
        jobs: how many different ones.
        targets: where, as people write them.
        hosts: on which machines.
        first_at: since when.
        last_at: the newest.
        first_message: what the first one said.
        last_message: what the newest one said.
        last_job: whose it was.
    """

    signature: str
    code: str
    phase: str
    attempts: int
    jobs: int
    targets: tuple[str, ...]
    hosts: tuple[str, ...]
    first_at: datetime
    last_at: datetime
    first_message: str
    last_message: str
    last_job: str
