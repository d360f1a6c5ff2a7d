"""A state dict into a model: everything fits, or nothing is exported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farm.domain.errors import InvalidRequestError
from workers.export.user_code import first_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: Under which training scripts keep the state dict in a checkpoint.
_WRAPPERS = ("state_dict", "model_state_dict", "model")
#: What DataParallel and torch.compile put before every name.
_PREFIXES = ("module.", "_orig_mod.")
_SHOWN = 3


def load_weights(torch: Any, model: Any, path: Path) -> None:
    """Loads a state dict, or a checkpoint that holds one, without ever unpickling other objects.

    Raises:
        InvalidRequestError: it can not be read, or a name or a shape does not fit.
    """
    if not path.is_file():
        raise InvalidRequestError(f"{path}: no such file of weights")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InvalidRequestError(
            f"{path}: no state dict that can be read safely: {first_line(error)}",
            hint="Write it with torch.save(model.state_dict(), path).",
        ) from error
    for name in _WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(name), dict):
            state = state[name]
            break
    if not isinstance(state, dict):
        raise InvalidRequestError(f"{path}: holds a {type(state).__name__}, not a state dict")
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
                f"{path} does not fit the model: {name} is {'x'.join(map(str, value.shape))} "
                f"where the model has {'x'.join(map(str, wanted[name].shape))}"
            )
