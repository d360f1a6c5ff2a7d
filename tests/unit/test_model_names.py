"""What a model is called where nobody says: after its file, and after the shapes that it was frozen at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cli.build_request import Wish
from cli.model_name import model_name, usual_name
from farm.domain.errors import InvalidSpecError
from tests.factories import a_model, a_tensor

if TYPE_CHECKING:
    from farm.domain.models import Model
    from farm.domain.shapes import Shape


def named(path: str, whole: Model | None = None, model: Model | None = None, **values: Any) -> str:
    """The name of a model of a file."""
    whole = whole or a_model()
    return model_name(Wish({"model": path, **values}), whole, model or whole)


def frozen(whole: Model, *shapes: Shape) -> Model:
    """Another model with other shapes of its inputs."""
    inputs = tuple(replace(tensor, shape=shape) for tensor, shape in zip(whole.inputs, shapes, strict=True))
    return a_model("frozen", inputs=inputs)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("resnet50.onnx", "resnet50"),
        ("resnet50.v2_b.onnx", "resnet50.v2_b"),
        ("my model (1).onnx", "my-model-1"),
        ("_private-.onnx", "private"),
        ("Modell für Ä.onnx", "Modell-f-r"),
        ("模型.onnx", "model"),
        ("lenet.py:build", "lenet"),
    ],
)
def test_a_file_gives_a_valid_name_whatever_it_is_called(file: str, name: str) -> None:
    assert usual_name(Path(file)) == name
    assert named(file) == name


def test_a_very_long_file_name_is_cut() -> None:
    whole = a_model()
    assert named(f"{'m' * 240}.onnx") == "m" * 200
    assert named(f"{'m' * 240}.onnx", whole, frozen(whole, (8, 3, 32, 32))) == "m" * 190 + "-8x3x32x32"


def test_a_frozen_model_does_not_take_over_the_name_of_the_whole_one() -> None:
    whole = a_model()
    assert named("m.onnx", whole, frozen(whole, (8, 3, 32, 32))) == "m-8x3x32x32"


def test_every_input_that_was_fixed_is_in_the_name_and_no_other() -> None:
    whole = a_model(inputs=(a_tensor("a"), a_tensor("size", (2,)), a_tensor("b", (-1, 128))))
    assert named("m.onnx", whole, frozen(whole, (8, 3, 8, 8), (2,), (8, 128))) == "m-8x3x8x8-8x128"


def test_shapes_of_many_inputs_are_cut_and_told_apart_by_the_digest() -> None:
    whole = a_model(inputs=tuple(a_tensor(str(number), (-1, 128)) for number in range(20)))
    model = frozen(whole, *[(8, 128)] * 20)
    name = named("m.onnx", whole, model)
    assert name.startswith("m-8x128-8x128-")
    assert name.endswith(f"-{model.digest.sha256[:8]}")
    assert len(name) <= len("m-") + 60


def test_what_the_user_says_counts() -> None:
    whole = a_model()
    assert named("m.onnx", whole, frozen(whole, (8, 3, 32, 32)), name="team/m") == "team/m"


def test_what_the_user_says_must_be_a_name_and_the_hint_says_how() -> None:
    with pytest.raises(InvalidSpecError, match="not a name for a model: 'my model'") as caught:
        named("m.onnx", name="my model")
    assert "--name my-model" in caught.value.hint
