"""What it says of itself, what it computes, and how long that takes."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from tensorrt_checks.building import (
    batches,
    conv_engine,
    loaded,
    options,
    refused,
    toolchain,
    worst,
)
from tensorrt_checks.models import conv_net, images, reference
from tensorrt_checks.registry import check

if TYPE_CHECKING:
    from pathlib import Path


@check
def describes_itself(scratch: Path) -> Any:
    """The description survives its trip through JSON."""
    from farm.domain.toolchains import ToolchainDescription

    description = toolchain().describe()
    again = ToolchainDescription.from_json(json.loads(json.dumps(description.as_json())))
    assert again == description
    return {
        "id": description.id.slug,
        "precisions": description.supported_precisions,
        "options": {option.name: option.choices or option.default for option in description.options},
    }


def _matches(scratch: Path, precision: str, tolerance: float) -> Any:
    engine = conv_engine(scratch, precision)
    errors = {}
    with loaded(engine) as live:
        assert [str(tensor) for tensor in live.inputs] == ["x float32 ?x3x32x32"], live.inputs
        assert [tensor.name for tensor in live.outputs] == ["y"], live.outputs
        for batch in (1, 5, 32):
            wanted = reference(scratch / "conv.onnx", images(batch))["y"]
            errors[batch] = worst(live.infer(images(batch))["y"], wanted)
    assert max(errors.values()) < tolerance, errors
    return errors


@check
def fp32_matches(scratch: Path) -> Any:
    """FP32 against ONNX Runtime."""
    return _matches(scratch, "fp32", 1e-4)


@check
def tf32_matches(scratch: Path) -> Any:
    """TF32 against ONNX Runtime."""
    return _matches(scratch, "tf32", 2e-2)


@check
def fp16_matches(scratch: Path) -> Any:
    """FP16 against ONNX Runtime."""
    return _matches(scratch, "fp16", 2e-2)


@check
def build_tells_facts(scratch: Path) -> Any:
    """Layers, device memory and the note on precision."""
    told: list[Any] = []
    from workers.toolchains.toolchain import BuildInput

    request = BuildInput(
        conv_net(scratch / "facts.onnx"), scratch / "facts.plan", "fp16", options(), (batches(1, 2, 4),)
    )
    output = toolchain().build(request, lambda fraction, message: told.append((fraction, message)))
    assert output.layers > 0
    assert "FP16" in output.precision_note
    assert request.engine_path.stat().st_size == output.details["plan_bytes"]
    assert told[0] == (None, "parsing")
    facts = {"layers": output.layers, "device_memory_bytes": output.device_memory_bytes, "told": told}
    return {**output.details, **facts}


@check
def refuses_wrong_inputs(scratch: Path) -> Any:
    """Missing, unknown, of another shape, beyond the profile, of another type; and then it still runs."""
    import numpy as np

    said = []
    with loaded(conv_engine(scratch)) as live:
        for inputs, fragment in (
            ({}, "missing"),
            ({**images(1), "z": np.zeros(1)}, "no input 'z'"),
            ({"x": np.zeros((1, 3, 32), np.float32)}, "does not fit"),
            ({"x": np.zeros((1, 4, 32, 32), np.float32)}, "does not fit"),
            (images(33), "outside the engine's profile"),
            ({"x": np.zeros((1, 3, 32, 32), np.complex64)}, "does not fit"),
        ):
            with refused("InvalidSpecError", fragment) as text:
                live.infer(inputs)
            said += text
        doubles = {"x": images(2)["x"].astype(np.float64)}
        assert worst(live.infer(doubles)["y"], reference(scratch / "conv.onnx", images(2))["y"]) < 1e-4
    return said


@check
def timing(scratch: Path) -> Any:
    """Plain and graph sessions of three batch sizes, open at once, taking turns, with inference between."""
    import statistics

    figures: dict[str, Any] = {}
    with loaded(conv_engine(scratch, "fp16")) as live:
        opened = {batch: live.timed_sessions(images(batch)) for batch in (1, 8, 32)}
        for _ in range(2):
            for batch, sessions in opened.items():
                assert [session.is_graph for session in sessions] == [False, True], sessions
                wanted = live.infer(images(batch))["y"]
                for session in sessions:
                    times = [session.iterate() for _ in range(200)][50:]
                    compute = statistics.median(t.compute_ms for t in times)
                    assert all(min(t) >= 0 for t in times)
                    assert compute > 0
                    assert worst(session._launch.binding.outputs()["y"], wanted) < 1e-3
                    figures[f"batch {batch} {'graph' if session.is_graph else 'plain'}"] = {
                        "h2d_ms": round(statistics.median(t.h2d_ms for t in times), 5),
                        "compute_ms": round(compute, 5),
                        "d2h_ms": round(statistics.median(t.d2h_ms for t in times), 5),
                        "burst_ms": round(1000 * session.burst(200) / 200, 5),
                    }
        for sessions in opened.values():
            for session in sessions:
                session.close()
                session.close()
        assert live.infer(images(3))["y"].shape == (3, 10)
    return figures


@check
def times_without_cuda_bindings(scratch: Path) -> Any:
    """Only the plain session is left, and works."""
    sys.modules["cuda.bindings"] = None  # type: ignore[assignment]
    with loaded(conv_engine(scratch, "fp16")) as live:
        (session,) = live.timed_sessions(images(1))
        return session.iterate()._asdict()
