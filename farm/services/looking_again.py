"""Filing what somebody else may file at the same moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from farm.domain.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_LOOKS = 5
Filed = TypeVar("Filed")


def until_filed(file: Callable[[], Filed]) -> Filed:
    """What a transaction files that looks first; it begins anew where somebody files the same between its two steps.

    Theirs is there to be shared by then. Rows are always taken in one order, looking first.

    Raises:
        ConflictError: that happened again and again.
    """
    for _ in range(_MOST_LOOKS):
        try:
            return file()
        except ConflictError:
            continue
    return file()
