"""Whether an engine still computes what the model computes."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, Mapping

from farm.domain.accuracy import Accuracy, compare, label_top1
from farm.domain.errors import AccuracyError
from workers.arrays import LABELS, check_inputs, golden_outputs, read_arrays, run_in_chunks, with_values
from workers.child.reference_request import further_path

if TYPE_CHECKING:
    from typing import Callable

    from farm.domain.accuracy import OutputAccuracy
    from workers.child.requests import AttemptRequest
    from workers.toolchains.toolchain import LoadedEngine


def verify(engine: LoadedEngine, request: AttemptRequest, progress: Callable[[float, str], None]) -> Accuracy:
    """Runs the inputs through the engine and compares with the reference's outputs.

    Raises:
        AccuracyError: an output is missing or has another shape.
        InvalidSpecError: the inputs do not fit the engine.
    """
    assert request.inputs_path is not None  # noqa: S101 - the caller asked for a verification
    assert request.reference_path is not None  # noqa: S101
    arrays = with_values(read_arrays(request.inputs_path), request.chunk_values, engine.inputs)
    labels = arrays.get(LABELS) if LABELS not in {tensor.name for tensor in engine.inputs} else None
    # The arrays have the model's types; an engine may have others, and casts.
    inputs = check_inputs(arrays, engine.inputs, any_type=True)
    expected = golden_outputs(arrays, inputs) or read_arrays(request.reference_path)
    held = request.chunk_values
    actual = run_in_chunks(engine.infer, inputs, request.chunk_shapes, progress, whole=held)
    _check_complete(expected, actual)
    scores = next((name for name in expected if expected[name].ndim == 2), None)
    return Accuracy(
        outputs=(
            *(compare(name, expected[name], actual[name]) for name in expected),
            *_in_further_profiles(engine, request),
        ),
        samples=max((len(a) for name, a in inputs.items() if a.ndim and name not in held), default=1),
        reference=request.reference_name,
        label_top1=label_top1(actual[scores], labels) if labels is not None and scores else None,
        reference_label_top1=label_top1(expected[scores], labels) if labels is not None and scores else None,
    )


def _in_further_profiles(engine: LoadedEngine, request: AttemptRequest) -> list[OutputAccuracy]:
    """The outputs in the engine's other optimization profiles, as far as there is a reference for them."""
    assert request.inputs_path is not None  # noqa: S101 - the caller asked for a verification
    assert request.reference_path is not None  # noqa: S101
    found: list[OutputAccuracy] = []
    for number in count(2):
        inputs_path = further_path(request.inputs_path, number)
        if not inputs_path.exists():
            return found
        expected = read_arrays(further_path(request.reference_path, number))
        actual = engine.infer(check_inputs(read_arrays(inputs_path), engine.inputs, any_type=True))
        _check_complete(expected, actual)
        found += [compare(f"{name} (profile {number})", expected[name], actual[name]) for name in expected]
    return found


def _check_complete(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> None:
    missing = sorted(set(expected) - set(actual))
    if missing:
        raise AccuracyError(f"the engine has no output {missing[0]!r}, which the model has")
