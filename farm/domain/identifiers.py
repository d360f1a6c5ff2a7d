"""Names of submissions, jobs and workers: short enough to type, long enough not to meet."""

from __future__ import annotations

import secrets

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(prefix: str) -> str:
    """`j-7k2m9xq4tn`: fifty random bits in Crockford's base 32, which has no look-alikes."""
    return f"{prefix}-" + "".join(secrets.choice(_ALPHABET) for _ in range(10))
