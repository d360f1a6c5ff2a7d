"""State dicts of PyTorch: read, and written as an `.npz` of plain arrays, which needs no PyTorch to be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farm.domain.error_texts import first_line
from farm.domain.errors import InvalidModelError
from workers.arrays import write_arrays

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


#: Under which training scripts keep it in a checkpoint, beside the optimizer's.
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_HINT = "Save it with torch.save(model.state_dict(), path)."


def read_state_dict(torch: Any, path: Path) -> dict[str, Any]:
    """A state dict, or that of a checkpoint; nothing is run that the file says (`weights_only`).

    Raises:
        InvalidModelError: the file holds something else, or can not be read without running what it says.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes it raise nearly anything
        raise InvalidModelError(
            f"{path} is no state dict that PyTorch {torch.__version__} reads: {first_line(error)}", hint=_HINT
        ) from error
    for name in _WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(name), dict):
            found = found[name]
            break
    if not isinstance(found, dict):
        raise InvalidModelError(f"{path} holds no state dict: {type(found).__name__}", hint=_HINT)
    return found


def convert_state_dict(path: Path, target: Path) -> Path:
    """Writes what `torch.save(model.state_dict(), path)` saved as an `.npz`, under the same names.

    bfloat16, which numpy does not have, becomes float32, which holds it exactly.

    Returns:
        The target.

    Raises:
        InvalidModelError: PyTorch is not installed, or the file holds something else.
    """
    try:
        import torch
    except ImportError as error:
        raise InvalidModelError(
            f"{path} is PyTorch's, and PyTorch is not installed here",
            hint="Where it is: numpy.savez('weights.npz', **{k: v.numpy() for k, v in torch.load(path).items()})",
        ) from error
    write_arrays(target, _arrays(path, read_state_dict(torch, path), torch))
    return target


def _arrays(path: Path, state: Mapping[str, Any], torch: Any) -> Mapping[str, Any]:
    if not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InvalidModelError(f"{path} holds no state dict: {type(state).__name__}", hint=_HINT)
    wide = {name: v.float() if v.dtype is torch.bfloat16 else v for name, v in state.items()}
    try:
        return {str(name): value.detach().contiguous().numpy() for name, value in wide.items()}
    except (TypeError, RuntimeError) as error:
        raise InvalidModelError(
            f"{path} has a tensor that numpy can not hold: {first_line(error)}"
        ) from error
