"""Whether an engine still computes what the model computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm.domain.accuracy import Accuracy, compare, label_top1
from farm.domain.errors import AccuracyError
from workers.arrays import LABELS, check_inputs, golden_outputs, read_arrays, run_in_chunks, with_values

if TYPE_CHECKING:
    from typing import Callable

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
    missing = sorted(set(expected) - set(actual))
    if missing:
        raise AccuracyError(f"the engine has no output {missing[0]!r}, which the model has")
    scores = next((name for name in expected if expected[name].ndim == 2), None)
    return Accuracy(
        outputs=tuple(compare(name, expected[name], actual[name]) for name in expected),
        samples=max((len(a) for name, a in inputs.items() if a.ndim and name not in held), default=1),
        reference=request.reference_name,
        label_top1=label_top1(actual[scores], labels) if labels is not None and scores else None,
        reference_label_top1=label_top1(expected[scores], labels) if labels is not None and scores else None,
    )
