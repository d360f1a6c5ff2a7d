"""One builder option of TensorRT together with how it is applied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable

from farm.domain.errors import InvalidSpecError
from farm.domain.suggestions import did_you_mean

if TYPE_CHECKING:
    from farm.domain.toolchains import BuilderOption
    from workers.toolchains.trt_log import TrtLog

#: Takes the module, the builder config, the option's canonical value and the log.
Apply = Callable[[Any, Any, Any, "TrtLog"], None]


@dataclass(frozen=True)
class Setting:
    """An option that a release has.

    Attributes:
        option: as users write it.
        apply: sets it on a builder config; raises `InvalidSpecError` where TensorRT does not take the value.
    """

    option: BuilderOption
    apply: Apply


def member_of(enum: Any, option: str, name: str) -> Any:
    """A member of an enum by its name, never by its number: TensorRT renumbers its enums between releases.

    Raises:
        InvalidSpecError: the release has no such member.
    """
    members = enum.__members__
    if name not in members:
        raise InvalidSpecError(f"{option} can not be {name!r}", hint=did_you_mean(name, members))
    return members[name]


def applied_elsewhere(_trt: Any, _config: Any, _value: Any, _log: TrtLog) -> None:
    """For an option that is no attribute of the builder config: of the network, or of the calibrator."""
