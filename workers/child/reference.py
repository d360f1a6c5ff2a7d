"""The reference: ONNX Runtime on the CPU, in FP32, from the same ONNX file; PyTorch from the same program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping

from workers.arrays import check_inputs, random_inputs, read_arrays, run_in_chunks, with_values, write_arrays
from workers.child.reference_request import further_path

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Callable, Tuple

    from numpy.typing import NDArray

    from farm.domain.shapes import Shape
    from workers.child.reference_request import ReferenceRequest
    from workers.toolchains.toolchain import LoadedEngine

    OpensModel = Callable[[Path], Tuple[LoadedEngine, str]]


def compute_reference(request: ReferenceRequest, open_model: OpensModel | None = None) -> str:
    """Writes the reference's outputs, and the inputs if they are to be made.

    Args:
        request: what to compute.
        open_model: what runs the model; none for the usual one of its format, in FP32.

    Returns:
        What computed them, such as `onnxruntime 1.23.2 fp32`.

    Raises:
        InvalidSpecError: the given inputs do not fit the model.
        BuildError: ONNX Runtime or PyTorch does not run the model.
    """
    engine, name = (open_model or _runner)(request.model_path)
    try:
        if request.make_inputs:
            arrays = _made(engine, request.shapes, request.values, request, request.inputs_path)
        else:
            given = with_values(read_arrays(request.inputs_path), request.values, engine.inputs)
            arrays = check_inputs(given, engine.inputs)
        outputs = run_in_chunks(engine.infer, arrays, request.shapes, whole=request.values)
        write_arrays(request.outputs_path, outputs)
        for number, (shapes, values) in enumerate(request.further, start=2):
            inputs_path = further_path(request.inputs_path, number)
            arrays = _made(engine, shapes, values, request, inputs_path)
            write_arrays(further_path(request.outputs_path, number), engine.infer(arrays))
    finally:
        engine.close()
    return name


def _made(
    engine: LoadedEngine,
    shapes: Mapping[str, Shape],
    values: Mapping[str, Shape],
    request: ReferenceRequest,
    path: Path,
) -> dict[str, NDArray[Any]]:
    """Random inputs, written to a file."""
    drawn = [tensor for tensor in engine.inputs if tensor.name not in values]
    arrays = with_values(random_inputs(drawn, shapes, request.seed, request.ranges), values, engine.inputs)
    write_arrays(path, arrays)
    return arrays


def _runner(model_path: Path) -> tuple[LoadedEngine, str]:
    """The model, live on the CPU, and what it runs by."""
    if model_path.suffix == ".pt2":
        from workers.toolchains.torch_program import open_program

        return open_program(model_path)
    from workers.toolchains.onnxruntime import open_model

    return open_model(model_path)
