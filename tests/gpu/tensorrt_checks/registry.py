"""The checks, by name, in the order in which they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CHECKS: dict[str, Callable[[Path], Any]] = {}


def check(function: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """Registers a check: it gets a scratch folder, and gives back details for the report."""
    CHECKS[function.__name__] = function
    return function
