"""A state dict into a model: everything fits, or nothing is exported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farm.domain.errors import InvalidRequestError
from farm.domain.shapes import shape_text
from workers.state_dict import read_state_dict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: What DataParallel and torch.compile put before every name.
_PREFIXES = ("module.", "_orig_mod.")
_SHOWN = 3


def load_weights(torch: Any, model: Any, path: Path) -> None:
    """Loads a state dict, or a checkpoint that holds one, without ever unpickling other objects.

    Raises:
        InvalidModelError: it can not be read.
        InvalidRequestError: there is no such file, or a name or a shape does not fit.
    """
    if not path.is_file():
        raise InvalidRequestError(f"{path}: no such file of weights")
    state = read_state_dict(torch, path)
    for prefix in _PREFIXES:
        if state and all(str(name).startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    _check(torch, path, model.state_dict(), state)
    model.load_state_dict(state)


def _check(torch: Any, path: Path, wanted: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    missing = [name for name in wanted if name not in state]
    surplus = [str(name) for name in state if name not in wanted]
    if missing or surplus:
        parts = [
            f"{what} {', '.join(names[:_SHOWN])}{f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''}"
            for what, names in (("lacks", missing), ("has beside it", surplus))
            if names
        ]
        raise InvalidRequestError(f"{path} does not fit the model: it {' and '.join(parts)}")
    for name, value in state.items():
        if not isinstance(value, torch.Tensor):
            continue
        if tuple(value.shape) != tuple(wanted[name].shape):
            raise InvalidRequestError(
                f"{path} does not fit the model: {name} is {shape_text(tuple(value.shape))} "
                f"where the model has {shape_text(tuple(wanted[name].shape))}"
            )
