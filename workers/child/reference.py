"""The reference: ONNX Runtime on the CPU, in FP32, from the same ONNX file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workers.arrays import check_inputs, random_inputs, read_arrays, run_in_chunks, with_values
from workers.toolchains import load_toolchain

if TYPE_CHECKING:
    from workers.child.reference_request import ReferenceRequest


def compute_reference(request: ReferenceRequest) -> str:
    """Writes the reference's outputs, and the inputs if they are to be made.

    Returns:
        What computed them, such as `onnxruntime 1.23.2 fp32`.

    Raises:
        InvalidSpecError: the given inputs do not fit the model.
        BuildError: ONNX Runtime does not run the model.
    """
    toolchain = load_toolchain("onnxruntime")
    engine = toolchain.load(request.model_path)
    try:
        if request.make_inputs:
            drawn = [tensor for tensor in engine.inputs if tensor.name not in request.values]
            arrays = random_inputs(drawn, request.shapes, request.seed)
            arrays = with_values(arrays, request.values, engine.inputs)
            with request.inputs_path.open("wb") as stream:
                np.savez(stream, **arrays)  # type: ignore[arg-type]
        else:
            given = with_values(read_arrays(request.inputs_path), request.values, engine.inputs)
            arrays = check_inputs(given, engine.inputs)
        outputs = run_in_chunks(engine.infer, arrays, request.shapes, whole=request.values)
    finally:
        engine.close()
    with request.outputs_path.open("wb") as stream:
        np.savez(stream, **outputs)  # type: ignore[arg-type]
    return f"{toolchain.describe().id} fp32"
