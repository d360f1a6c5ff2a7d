"""What a submitted model is called: as the user says, else after its file and the shapes that it was frozen at."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cli.networks import place_of_function
from farm.domain.errors import InvalidSpecError
from farm.domain.shapes import shape_text

if TYPE_CHECKING:
    from pathlib import Path

    from cli.build_request import Wish
    from farm.domain.models import Model

_LONGEST = 200
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._/-]{{0,{_LONGEST - 1}}}")
_LONGEST_SHAPES = 60
#: So many digits of the digest tell models apart whose shapes do not fit.
_DIGITS = 8


def model_name(wish: Wish, whole: Model, model: Model) -> str:
    """The name of a submission's model.

    Args:
        wish: may say one.
        whole: as it was read.
        model: as it is submitted; frozen where `--static` asked for it.

    Raises:
        InvalidSpecError: what the user says is no name.
    """
    frozen = _frozen_part(whole, model)
    usual = usual_name(wish.model_path())[: _LONGEST - len(frozen)] + frozen
    name = str(wish.values.get("name") or usual)
    if not _NAME.fullmatch(name):
        raise InvalidSpecError(
            f"not a name for a model: {name!r}",
            hint="Letters, digits, dots, dashes, underscores and slashes, a letter or digit first: --name my-model.",
        )
    return name


def usual_name(path: Path) -> str:
    """A valid name after a model's file, without its ending and the function: `my model (1).onnx` is `my-model-1`."""
    place = place_of_function(path)
    stem = (place[0] if place else path).stem
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).lstrip("-._").rstrip("-") or "model"


def _frozen_part(whole: Model, model: Model) -> str:
    """`-8x3x32x32`, a shape for each input that was fixed; empty where none was.

    A frozen model is another one: it must not take over the name of the whole one.
    """
    before = {tensor.name: tensor.shape for tensor in whole.inputs}
    fixed = [tensor.shape for tensor in model.inputs if tensor.shape != before.get(tensor.name)]
    shapes = "-".join(map(shape_text, fixed))
    if len(shapes) > _LONGEST_SHAPES:
        kept = shapes[: _LONGEST_SHAPES - _DIGITS - 1].rstrip("x-")
        shapes = f"{kept}-{model.digest.sha256[:_DIGITS]}"
    return f"-{shapes}" if shapes else ""
