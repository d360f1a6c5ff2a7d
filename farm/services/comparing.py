"""Hold one filed engine against another, block by block on one device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm.domain.errors import InvalidRequestError, InvalidSpecError
from farm.services.benchmarking import check_batches, usual_batches

if TYPE_CHECKING:
    from farm.domain.filing import Engine
    from farm.domain.models import Model


def check_comparable(first: Engine, second: Engine) -> None:
    """Refuses two engines that no child could run side by side.

    Raises:
        InvalidRequestError: they are for other devices, or of other toolchains; says which.
    """
    of_first, of_second = first.spec.target, second.spec.target
    if of_first.device_type != of_second.device_type:
        raise InvalidRequestError(
            f"engine {first.id} is for {of_first.device_type.slug} and engine {second.id} for "
            f"{of_second.device_type.slug}: no device runs both",
            hint="`farm history` and `farm engines` show figures of different devices side by side.",
        )
    if of_first.toolchain != of_second.toolchain:
        raise InvalidRequestError(
            f"engine {first.id} is of {of_first.toolchain} and engine {second.id} of {of_second.toolchain}: "
            "one process can not load both",
            hint="Measure each alone: `farm benchmark ENGINE --repeat 5` shows how far its medians spread.",
        )


def batches_of_both(
    first: tuple[Model, Engine], second: tuple[Model, Engine], wanted: tuple[int, ...]
) -> tuple[int, ...]:
    """The batches at which two engines are compared: those wanted, else those that A is measured at and both take.

    Raises:
        InvalidSpecError: one of them does not take a batch, or they have none in common.
    """
    for batches in (wanted, usual_batches(*first), usual_batches(*second)):
        taken = tuple(batch for batch in batches if _take(first, second, batch, insists=bool(wanted)))
        if taken:
            return taken
    raise InvalidSpecError(
        f"engine {first[1].id} and engine {second[1].id} have no batch in common",
        hint="Build one of them for a batch of the other.",
    )


def _take(first: tuple[Model, Engine], second: tuple[Model, Engine], batch: int, *, insists: bool) -> bool:
    try:
        for model, engine in (first, second):
            check_batches(model, engine, [batch])
    except InvalidSpecError:
        if insists:
            raise
        return False
    return True
