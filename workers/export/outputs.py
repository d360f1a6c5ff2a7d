"""A model's outputs as a flat list of named tensors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from farm.domain.errors import InvalidModelError, InvalidSpecError

if TYPE_CHECKING:
    from collections.abc import Sequence


def named_outputs(torch: Any, outputs: Any, taken: Sequence[str]) -> dict[str, Any]:
    """Every tensor by a name that its place gives it: `mask` of a dict, `output_1` of a tuple, `output` alone.

    What is None is left out, as both exporters do.

    Args:
        torch: the module.
        outputs: as the model gave them.
        taken: names of inputs, which no output may have.

    Raises:
        InvalidModelError: something in it is no tensor.
    """
    leaves, _ = torch.utils._pytree.tree_flatten_with_path(outputs)
    found: dict[str, Any] = {}
    for path, value in leaves:
        if value is None:
            continue
        name = _name(path)
        if not isinstance(value, torch.Tensor):
            raise InvalidModelError(
                f"the model's {name} is a {type(value).__name__}, and ONNX has tensors only",
                hint="Return tensors, in tuples, lists or dicts; an own class must be registered as a pytree.",
            )
        while name in found or name in taken:
            name += "_out"
        found[name] = value
    if not found:
        raise InvalidModelError("the model returns no tensor")
    return found


def renamed(outputs: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The outputs under the names that the user wants.

    Raises:
        InvalidSpecError: another number of names, or one twice.
    """
    if not names:
        return outputs
    if len(names) != len(outputs):
        raise InvalidSpecError(
            f"{len(names)} output name(s) for {len(outputs)} output(s): {', '.join(outputs)}"
        )
    if len(set(names)) != len(names):
        raise InvalidSpecError(f"an output name comes twice: {', '.join(names)}")
    return dict(zip(names, outputs.values(), strict=True))


def _name(path: Sequence[Any]) -> str:
    parts: list[str] = []
    for key in path:
        value = next((getattr(key, a) for a in ("key", "idx", "name") if hasattr(key, a)), str(key))
        parts.append(re.sub(r"\W+", "_", str(value)))
    if not parts or parts[0][:1].isdigit():
        parts.insert(0, "output")
    return "_".join(parts)
