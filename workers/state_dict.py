"""A state dict of PyTorch as an `.npz` of plain arrays, which needs no PyTorch to be read."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from farm.domain.error_texts import first_line
from farm.domain.errors import InvalidModelError
from workers.arrays import write_arrays

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def convert_state_dict(path: Path, target: Path) -> Path:
    """Writes what `torch.save(model.state_dict(), path)` saved as an `.npz`, under the same names.

    bfloat16, which numpy does not have, becomes float32, which holds it exactly. Nothing is run that the file says
    (`weights_only`).

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
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, EOFError, OSError, KeyError, pickle.UnpicklingError) as error:
        raise InvalidModelError(
            f"{path} is no state dict that PyTorch {torch.__version__} reads: {first_line(error)}",
            hint="Save it with torch.save(model.state_dict(), path).",
        ) from error
    write_arrays(target, _arrays(path, found, torch))
    return target


def _arrays(path: Path, found: Any, torch: Any) -> Mapping[str, Any]:
    # As training scripts save it, beside the optimizer's.
    state = found.get("state_dict", found) if isinstance(found, dict) else found
    if (
        not isinstance(state, dict)
        or not state
        or not all(isinstance(v, torch.Tensor) for v in state.values())
    ):
        raise InvalidModelError(
            f"{path} holds no state dict: {type(state).__name__}",
            hint="Save it with torch.save(model.state_dict(), path).",
        )
    wide = {name: v.float() if v.dtype is torch.bfloat16 else v for name, v in state.items()}
    try:
        return {str(name): value.detach().contiguous().numpy() for name, value in wide.items()}
    except (TypeError, RuntimeError) as error:
        raise InvalidModelError(
            f"{path} has a tensor that numpy can not hold: {first_line(error)}"
        ) from error
