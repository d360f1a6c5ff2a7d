"""What models are called, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farm.domain.work import ModelName
    from farm.services.ports import Transaction

#: So many digits of a digest stand for a model without a name.
_DIGITS = 12


def newest_names(transaction: Transaction) -> dict[str, ModelName]:
    """The newest name of every model that has one, by the model's digest."""
    return {name.model_sha256: name for name in transaction.models.names()}


def model_label(names: Mapping[str, ModelName], sha256: str) -> str:
    """What a model is called; the first digits of its digest if it has no name."""
    return str(names[sha256]) if sha256 in names else sha256[:_DIGITS]
