"""Which engines a report is of."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

from cli.context import flattened
from cli.filters import read_filter
from farm.services.report import keys_with_tag

if TYPE_CHECKING:
    from collections.abc import Callable

    from farm.domain.filing import Engine
    from farm.services.ports import Transaction


def read_report_filter(transaction: Transaction, given: dict[str, Any]) -> Callable[[Engine], bool]:
    """Whether an engine is of one of the devices, toolchains and precisions, and asked for with the tag.

    Raises:
        UnsupportedTargetError: no such GPU or toolchain is known.
        InvalidSpecError: no such precision is known.
    """
    words = [flattened(given[name]) or (None,) for name in ("gpu", "toolchain", "precision")]
    filters = [read_filter(transaction, *some) for some in product(*words)]
    keys = keys_with_tag(transaction, given["tag"]) if given["tag"] else None

    def passes(engine: Engine) -> bool:
        return any(each.passes(engine) for each in filters) and (
            keys is None or engine.spec.digest.sha256 in keys
        )

    return passes
