"""Figures for those who watch the farm, as the services need them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from farm.domain.metrics import FarmFigures


class Metrics(Protocol):
    """Figures for those who watch the farm."""

    def figures(self) -> FarmFigures:
        """The farm as it is now; who watches it is not in it."""
