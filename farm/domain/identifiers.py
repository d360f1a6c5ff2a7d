"""Names of submissions, jobs and workers: short enough to type, long enough not to meet."""

from __future__ import annotations

import secrets

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(prefix: str) -> str:
    """`j-7k2m9xq4tn`: fifty random bits in Crockford's base 32, which has no look-alikes."""
    bits = secrets.randbits(50)
    return f"{prefix}-" + "".join(_ALPHABET[bits >> shift & 31] for shift in range(0, 50, 5))
