"""What `farm submit` and others are told of an engine's verification: ranges of random inputs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cli.context import Pairs
from cli.user_metrics import user_metrics
from farm.domain.errors import InvalidSpecError
from farm.domain.input_ranges import check_input_ranges, parse_input_range
from farm.domain.model_formats import ONNX
from farm.domain.suggestions import did_you_mean
from farm.domain.verification import FP32, FP64, REFERENCES, VerificationSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cli.build_request import Wish
    from farm.domain.models import Model

Command = TypeVar("Command", bound="Callable[..., Any]")

_OPTIONS = (
    click.option(
        "--input-range",
        "input_ranges",
        multiple=True,
        type=Pairs(),
        help="What a random input is drawn from: input_ids=0:30521, image=-1:1; repeatable. [default: normal floats; "
        "integers within the vocabulary that the graph looks them up in, else 0 and 1]",
    ),
    click.option(
        "--reference",
        type=click.Choice(REFERENCES),
        help="In which precision an ONNX model computes what its engines are compared with, on the CPU. [default: fp32]",
    ),
    click.option(
        "--metric",
        "metrics",
        multiple=True,
        help="Your own figure of accuracy: SOURCE.py:FUNCTION or MODULE:FUNCTION, called with (expected, actual, inputs), "
        "dicts of arrays; it gives a number, or a dict of numbers. Repeatable; --threshold min_FUNCTION=… limits it.",
    ),
    click.option(
        "--layerwise",
        is_flag=True,
        help="Compare every layer of an ONNX model too, and name the first whose error jumps: builds more engines, with "
        "intermediate tensors as outputs.",
    ),
)


def verification_options(command: Command) -> Command:
    """Gives a command the options that say what an engine is verified with, beside inputs and thresholds."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def verification_as_wish(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options under the names of a spec file."""
    return {
        "input_range": dict(given["input_ranges"] or ()),
        "reference": given["reference"],
        "layerwise": given["layerwise"] or None,
        "metric": tuple(str(Path(word).absolute()) for word in given["metrics"] or ()),
    }


def verification_of(wish: Wish, model: Model, graph: Path, *, has_outputs: bool) -> VerificationSpec:
    """What the engines of a wish are verified with, but for the inputs' file.

    Args:
        wish: in the user's words.
        model: that is submitted.
        graph: the model's file.
        has_outputs: whether the inputs' file says what is to be computed.

    Raises:
        InvalidSpecError: a range, a threshold or the seed makes no sense.
    """
    given = wish.values.get("input_range", {})
    ranges = {name: parse_input_range(name, value) for name, value in given.items()}
    check_input_ranges(ranges, {tensor.name: tensor for tensor in model.inputs})
    return VerificationSpec(
        seed=wish.seed(),
        thresholds=wish.thresholds(),
        input_ranges=ranges,
        vocabularies=_vocabularies(model, graph),
        has_outputs=has_outputs,
        reference=_reference(wish, model, has_outputs=has_outputs),
        metrics=user_metrics(wish.values),
        layerwise=_is_layerwise(wish, model),
    )


def _is_layerwise(wish: Wish, model: Model) -> bool:
    wanted = bool(wish.values.get("layerwise"))
    if wanted and model.format != ONNX:
        raise InvalidSpecError(
            f"layers are compared of ONNX models, and this one is in the format {model.format}",
            hint="Leave --layerwise out.",
        )
    return wanted


def _reference(wish: Wish, model: Model, *, has_outputs: bool) -> str:
    word = str(wish.values.get("reference", FP32))
    if word not in REFERENCES:
        raise InvalidSpecError(f"there is no reference {word!r}", hint=did_you_mean(word, REFERENCES))
    if word == FP64 and has_outputs:
        raise InvalidSpecError(
            "a reference in FP64 is asked for, and the inputs' file has outputs to compare with",
            hint="Leave --reference out, or the arrays outputs/NAME.",
        )
    if word == FP64 and model.format != ONNX:
        raise InvalidSpecError(
            f"a reference in FP64 is computed from ONNX models, and this one is in the format {model.format}",
            hint="Give --inputs with outputs/NAME that were computed elsewhere.",
        )
    return word


def _vocabularies(model: Model, graph: Path) -> dict[str, Any]:
    """What the graph tells of its integer inputs; read again only where there are some."""
    if model.format != ONNX or not any(tensor.dtype in ("int32", "int64") for tensor in model.inputs):
        return {}
    from farm.storage.onnx_vocabularies import vocabularies

    return vocabularies(graph)
