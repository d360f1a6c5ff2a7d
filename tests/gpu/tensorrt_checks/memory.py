"""The device's memory, and what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorrt_checks.building import (
    build,
    conv_engine,
    loaded,
    refused,
    spans,
    toolchain,
)
from tensorrt_checks.models import images, node, save
from tensorrt_checks.registry import CHECKS, check

if TYPE_CHECKING:
    from pathlib import Path


@check
def out_of_memory(scratch: Path) -> Any:
    """No room for the buffers is told as that, and the engine lives on."""
    import numpy as np

    model = save(
        scratch / "relu.onnx", [node("Relu", ["x"], ["y"])], [("x", "FLOAT", ["N"])], [("y", "FLOAT", ["N"])]
    )
    build(model, scratch / "relu.plan", [spans((1,), (1024,), (1 << 28,))])
    with loaded(scratch / "relu.plan") as live:
        import pycuda.driver as cuda

        free, _ = cuda.mem_get_info()
        hog = cuda.mem_alloc(free - (700 << 20))
        try:
            with refused("OutOfMemoryError") as text:
                live.infer({"x": np.zeros(1 << 28, np.float32)})
        finally:
            hog.free()
        assert live.infer({"x": np.array([-1, 2], np.float32)})["y"].tolist() == [0, 2]
    return text


@check
def loads_again_and_again(scratch: Path) -> Any:
    """Open and close in one process, two at once too, leaving the device's memory as it was."""
    used = []
    for _ in range(5):
        with loaded(conv_engine(scratch)) as first, loaded(conv_engine(scratch, "fp16")) as second:
            first.timed_sessions(images(32))
            second.infer(images(8))
            second.timed_sessions(images(8))[1].iterate()
            first.infer(images(1))
            import pycuda.driver as cuda

            free, _ = cuda.mem_get_info()
            used.append(free >> 20)
    assert used[1] - used[-1] <= 32, f"free MiB after each round: {used}"
    return {"free_mib": used}


@check
def leaves_an_open_engine_behind(scratch: Path) -> Any:
    """A process that never closes its engine still exits cleanly: the status of this check's process."""
    live = toolchain().load(conv_engine(scratch))
    live.infer(images(1))
    CHECKS["_kept"] = live
    return "see the exit status"
