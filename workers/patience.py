"""Patience at the start: a database that is away is waited for, with a line that says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from farm.domain.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable

Found = TypeVar("Found")
FIRST_GAP_S, LAST_GAP_S = 1.0, 10.0


def patiently(
    what: Callable[[], Found], *, tell: Callable[[str], None], wait: Callable[[float], bool]
) -> Found:
    """What comes of something, as soon as what it needs is there.

    Args:
        what: tried again and again.
        tell: hears what is waited for, once for each reason, and that the wait is over.
        wait: for so many seconds; true to give up.

    Raises:
        TransientError: the last one, when the wait was given up. Any other error at once.
    """
    gap_s, told = FIRST_GAP_S, ""
    while True:
        try:
            found = what()
        except TransientError as error:
            if error.message != told:
                told = error.message
                tell(f"waiting, for {told}")
            if wait(gap_s):
                raise
            gap_s = min(2 * gap_s, LAST_GAP_S)
        else:
            if told:
                tell("the wait is over")
            return found
