"""`farm submit --static`: the frozen model in place of the one that was named."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from farm.domain.errors import InvalidSpecError
from farm.domain.model_formats import ONNX
from farm.domain.shapes import shape_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    import click

    from farm.domain.models import Model
    from farm.domain.shapes import Shape


def freeze(
    ctx: click.Context, path: Path, model: Model, shapes: Mapping[str, Shape]
) -> tuple[Model, Path | None, str]:
    """A model with the shapes of inputs fixed.

    Returns:
        The model; the file of its graph, which is there until the command ends, and none if nothing was to be
        fixed; and a note of what was done, empty if nothing was asked for.

    Raises:
        InvalidSpecError: the model can not be frozen, or not at these shapes.
    """
    if not shapes:
        return model, None, ""
    if model.format != ONNX:
        raise InvalidSpecError(
            f"--static fixes the inputs of ONNX models, and this one is in the format {model.format}",
            hint="Say the shapes where the model is made.",
        )
    now = {tensor.name: tensor.shape for tensor in model.inputs}
    if all(now.get(name) == shape for name, shape in shapes.items()):
        return model, None, "the model is static already, as --static asks"
    from farm.storage.onnx_freeze import freeze_model

    folder = tempfile.TemporaryDirectory(prefix="farm-frozen-")
    ctx.call_on_close(folder.cleanup)
    frozen = freeze_model(path, shapes, Path(folder.name))
    fixed = ", ".join(
        f"{tensor.name} {shape_text(tensor.shape)}"
        for tensor in frozen.model.inputs
        if tensor.shape != now[tensor.name]
    )
    return (
        frozen.model,
        frozen.graph,
        f"frozen by --static: {fixed}; a model of its own, {frozen.model.digest.short}",
    )
