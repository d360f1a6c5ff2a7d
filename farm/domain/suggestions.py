"""The nearest known word to a mistyped one."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint for an unknown word: the nearest known ones, or all of them if none is near."""
    names = sorted(set(known))
    folded = {name.lower(): name for name in names}
    near = [folded[found] for found in difflib.get_close_matches(word.lower(), folded, n=3, cutoff=0.5)]
    near += [name for name in names if word.lower() in name.lower() and name not in near]
    if near:
        return f"Did you mean {' or '.join(near[:3])}?"
    return f"Known: {', '.join(names)}." if names else "None is known yet."
