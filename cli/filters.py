"""Which engines a user means by `--gpu`, `--toolchain` and `--precision`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.domain.errors import InvalidSpecError, UnsupportedTargetError
from farm.domain.precisions import PRECISIONS
from farm.domain.suggestions import did_you_mean
from farm.domain.targets import parse_toolchain
from farm.services.targets import named_devices

if TYPE_CHECKING:
    from farm.domain.filing import Engine
    from farm.domain.targets import DeviceType
    from farm.services.ports import Transaction


@dataclass(frozen=True)
class EngineFilter:
    """What is to be shown.

    Attributes:
        device_types: of the engines that pass.
        toolchain: word for a toolchain; empty for any.
        precision: empty for any.
    """

    device_types: frozenset[DeviceType]
    toolchain: str
    precision: str

    def passes(self, engine: Engine) -> bool:
        """Whether an engine is meant."""
        spec = engine.spec
        return (
            spec.target.device_type in self.device_types
            and (not self.toolchain or spec.target.toolchain.matches(self.toolchain))
            and (not self.precision or spec.precision == self.precision)
        )


def read_filter(
    transaction: Transaction, gpu: str | None, toolchain: str | None, precision: str | None
) -> EngineFilter:
    """The filter of the words; a mistyped word is an error, never an empty answer.

    Raises:
        UnsupportedTargetError: no such GPU or toolchain is known.
        InvalidSpecError: no such precision is known.
    """
    types = transaction.fleet.device_types()
    if toolchain:
        known = [description.id for description in transaction.fleet.toolchains()]
        if not any(id_.matches(parse_toolchain(toolchain)) for id_ in known):
            raise UnsupportedTargetError(
                f"no toolchain {toolchain!r} is known to this farm",
                hint=did_you_mean(toolchain, [f"{id_.name}@{id_.version}" for id_ in known]),
            )
    wanted = (precision or "").lower()
    if wanted and wanted not in PRECISIONS:
        raise InvalidSpecError(f"unknown precision {wanted!r}", hint=did_you_mean(wanted, PRECISIONS))
    allowed = (
        frozenset(types[slug] for slug in named_devices(types, gpu)) if gpu else frozenset(types.values())
    )
    return EngineFilter(allowed, toolchain or "", wanted)
