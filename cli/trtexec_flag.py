"""One flag of trtexec, and what `farm submit` makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cli.trtexec_values import Translate

#: The releases of trtexec whose flags are known, by NVIDIA/TensorRT's sampleOptions.cpp at their tags.
ALL = "8.5 to 11.1"


class Answer(Enum):
    """What becomes of a flag."""

    TAKEN = "translated"
    NEEDLESS = "accepted, nothing to do"
    REFUSED = "refused"


@dataclass(frozen=True)
class Flag:
    """One flag.

    Attributes:
        name: as it is written, with its dashes.
        answer: what becomes of it.
        says: what it is translated to; why nothing is to be done; or why it is refused, and what to do instead.
        takes_value: whether `=…` follows.
        translate: puts it into a draft; of translated flags only.
        only: values with which nothing is to be done; any other is refused for the same reason. Empty for any.
        releases: of trtexec, that have it.
    """

    name: str
    answer: Answer
    says: str
    takes_value: bool = False
    translate: Translate | None = None
    only: tuple[str, ...] = ()
    releases: str = ALL

    @property
    def written(self) -> str:
        """As users write it."""
        return f"{self.name}=…" if self.takes_value else self.name


def taken(
    name: str, says: str, translate: Translate, *, value: bool = True, releases: str = ALL
) -> tuple[str, Flag]:
    """A flag that is translated."""
    return name, Flag(name, Answer.TAKEN, says, value, translate, releases=releases)


def needless(
    name: str, why: str, *, value: bool = False, only: tuple[str, ...] = (), releases: str = ALL
) -> tuple[str, Flag]:
    """A flag that asks for what the farm does anyway."""
    return name, Flag(name, Answer.NEEDLESS, why, value or bool(only), only=only, releases=releases)


def refused(name: str, why: str, *, value: bool = True, releases: str = ALL) -> tuple[str, Flag]:
    """A flag that the farm can not honour."""
    return name, Flag(name, Answer.REFUSED, why, value, releases=releases)
