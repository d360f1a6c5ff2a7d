"""The reference: ONNX Runtime on the CPU, in FP32, from the same ONNX file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workers.arrays import check_inputs, random_inputs, read_arrays, run_in_chunks
from workers.toolchains import load_toolchain

if TYPE_CHECKING:
    from workers.child.requests import ReferenceRequest


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
            arrays = random_inputs(engine.inputs, request.shapes, request.seed)
            with request.inputs_path.open("wb") as stream:
                np.savez(stream, **arrays)  # type: ignore[arg-type]
        else:
            arrays = check_inputs(read_arrays(request.inputs_path), engine.inputs)
        outputs = run_in_chunks(engine.infer, arrays, request.shapes)
    finally:
        engine.close()
    with request.outputs_path.open("wb") as stream:
        np.savez(stream, **outputs)  # type: ignore[arg-type]
    return f"{toolchain.describe().id} fp32"
