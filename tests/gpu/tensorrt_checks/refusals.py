"""What it refuses, and in which words."""

# ruff: noqa: PT017 - run where pytest is not installed

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorrt_checks.building import (
    batches,
    build,
    options,
    refused,
    spans,
    toolchain,
)
from tensorrt_checks.models import conv_net, node, save
from tensorrt_checks.registry import check

if TYPE_CHECKING:
    from pathlib import Path


@check
def refuses_bad_requests(scratch: Path) -> Any:
    """Options, precisions and profiles that can not be had."""
    model, said = conv_net(scratch / "refused.onnx"), []
    plan = scratch / "refused.plan"
    description = toolchain().describe()
    for bad in (
        {"no_such_option": 1},
        {"avg_timing_iterations": 0},
        {"tactic_sources": "-NOTHING"},
        {"memory_pool_limits.WORKSPACE": "lots"},
    ):
        with refused("InvalidSpecError") as text:
            description.normalise(bad)
        said += text
    for more, fragment in (
        ({"builder_config": {"no_such_option": 1}}, "no builder option"),
        ({"precision": "int8"}, "not supported"),
        ({"profiles": ()}, "no optimization profile covers it"),
        ({"profiles": [{}]}, "no optimization profile covers it"),
        ({"profiles": [spans((1,), (1,), (1,), name="z")]}, "no input 'z'"),
        ({"profiles": [spans((1, 3, 32), (1, 3, 32), (1, 3, 32))]}, "does not fit"),
    ):
        with refused("InvalidSpecError", fragment) as text:
            build(model, plan, **{"profiles": [batches(1, 1, 1)], **more})
        said += text
    limited = options(**{"memory_pool_limits.WORKSPACE": 64 << 20, "profiling_verbosity": "DETAILED"})
    build(model, plan, [batches(1, 1, 1)], builder_config=limited)
    return said


@check
def refuses_bad_models(scratch: Path) -> Any:
    """Garbage, an unknown operator, a newer operator set, missing external data."""
    import onnx

    said = {}
    plan = scratch / "bad.plan"
    (scratch / "garbage.onnx").write_bytes(b"\xff\xfe garbage" * 50)
    with refused("InvalidModelError") as text:
        build(scratch / "garbage.onnx", plan)
    said["garbage"] = text
    model = onnx.load(str(conv_net(scratch / "unknown.onnx")))
    model.graph.node[1].op_type, model.graph.node[1].name = "NoSuchOp", "mystery"
    onnx.save(model, str(scratch / "unknown.onnx"))
    with refused("InvalidModelError", "NoSuchOp", "mystery") as text:
        build(scratch / "unknown.onnx", plan, [batches(1, 1, 1)])
    said["unknown"] = text
    newer = save(
        scratch / "newer.onnx",
        [node("Split", ["x"], ["a", "b"], axis=1, num_outputs=2), node("Gelu", ["a"], ["y"])],
        [("x", "FLOAT", [2, 8])],
        [("y", "FLOAT", [2, 4])],
        opset=20,
    )
    try:
        build(newer, plan)
        said["newer"] = ["taken"]
    except Exception as error:  # noqa: BLE001 - told, whatever it is
        assert type(error).__name__ == "InvalidModelError", repr(error)
        said["newer"] = [f"{error} | {getattr(error, 'hint', '')}"]
    folder = scratch / "external"
    folder.mkdir(exist_ok=True)
    big = onnx.load(str(conv_net(folder / "m.onnx")))
    onnx.save(big, str(folder / "m.onnx"), save_as_external_data=True, location="w.bin", size_threshold=0)
    build(folder / "m.onnx", scratch / "external.plan", [batches(1, 1, 1)])
    (folder / "w.bin").unlink()
    with refused("InvalidModelError") as text:
        build(folder / "m.onnx", plan, [batches(1, 1, 1)])
    said["external"] = text
    return said
