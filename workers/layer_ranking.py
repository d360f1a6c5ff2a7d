"""Ranks the layers of a model by what a precision does to them, in a child of the farm's own interpreter."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm.domain import errors
from farm.domain.errors import BuildError, FarmError
from workers.child_process import ChildProcess
from workers.interpreters import code_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from farm.settings import Settings
    from workers.conversion.sensitivity import SensitivityRequest

#: How long comparing may take, in seconds: a large model on one core.
_DEADLINE_S = 3600.0


def rank_layers(
    settings: Settings,
    compose: Callable[[Path], SensitivityRequest],
    tell: Callable[[str], None],
) -> list[dict[str, Any]]:
    """What a conversion does to every node, the greatest jump first, as `LayerError` has it.

    Args:
        settings: of the farm.
        compose: makes the request, given a folder for its files.
        tell: is told what goes on.

    Raises:
        BuildError: the child ended without an answer, or the model can not be converted.
        InvalidSpecError: the inputs do not fit.
    """
    settings.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.scratch, prefix="sensitivity.") as name:
        folder = Path(name)
        outcome = ChildProcess(
            Path(sys.executable),
            folder,
            "sensitivity",
            compose(folder).as_json(),
            code=code_folder(settings.scratch),
            environment={"CUDA_VISIBLE_DEVICES": ""},
        ).supervise(
            deadline_s=_DEADLINE_S,
            should_stop=lambda: False,
            on_tick=lambda events: tell(events[-1].message) if events else None,
        )
    if outcome.failure is not None:
        raise BuildError(outcome.failure.message, hint=outcome.failure.hint)
    if failure := outcome.what_failed:
        raise _error_named(failure.code)(failure.message, hint=failure.hint)
    layers: list[dict[str, Any]] = outcome.answer["layers"]
    return layers


def ranked_names(layers: Sequence[dict[str, Any]], *, any_name: bool) -> list[tuple[str, ...]]:
    """The names of the layers that lose something, the worst first.

    Args:
        layers: as `LayerError` has them, the greatest jump first.
        any_name: whether names count that the comparison gave to nodes without one.
    """
    from workers.conversion.sensitivity import LEAST_JUMP

    return [
        tuple(layer["nodes"])
        for layer in layers
        if layer["jump"] > LEAST_JUMP and (any_name or layer["have_own_names"])
    ]


def _error_named(code: str) -> type[FarmError]:
    """The class of an error that a child reports; a build error where it is none of the farm's own."""
    found = getattr(errors, code, None)
    return found if isinstance(found, type) and issubclass(found, FarmError) else BuildError
