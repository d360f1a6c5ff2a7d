"""Looking inside: what the inspector tells after each kind of build, and the times of layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorrt_checks.building import batches, build, loaded, options, toolchain
from tensorrt_checks.calibration import samples
from tensorrt_checks.models import conv_net, images
from tensorrt_checks.registry import check

if TYPE_CHECKING:
    from pathlib import Path

#: The profiler makes every launch wait and report, so its sum is above the plain time, and by how much nobody says.
_LEAST_SHARE, _MOST_SHARE = 0.5, 4.0
ITERATIONS = 30


def told(scratch: Path, precision: str, *, verbosity: str = "DETAILED", **wanted: Any) -> dict[str, Any]:
    """Builds, and reads what the engine told of its layers; fails with the beginning of the text if that is little."""
    from farm.domain.inspector_json import parse_inspector

    name = f"layers-{precision.replace('+', '-')}-{verbosity.lower()}"
    path = scratch / f"{name}.json"
    config = options(**({} if verbosity == "LAYER_NAMES_ONLY" else {"profiling_verbosity": verbosity}))
    output = build(
        conv_net(scratch / "conv.onnx"),
        scratch / f"{name}.plan",
        [batches(1, 8, 32)],
        precision,
        builder_config=config,
        layers_path=path,
        **wanted,
    )
    assert path.exists(), f"no layer information after {precision} {verbosity}: the log says why; {output}"
    raw = path.read_bytes()
    text = raw.decode("utf-8", "replace")
    found = parse_inspector(text)
    assert found.layers, f"no layer is read from {len(raw)} bytes: {text[:400]!r} … {text[-200:]!r}"
    assert "in part" not in found.note, f"read in part only: {_around_the_fault(text)}"
    assert "layer_information" not in output.details, "it is an artifact, and no detail of the build"
    return {
        "found": found,
        "bytes": len(raw),
        "layers": output.layers,
        "strict": _is_strict(text),
        "text": text,
    }


def _is_strict(text: str) -> bool:
    import json

    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _around_the_fault(text: str) -> str:
    import json

    try:
        json.loads(text, strict=False)
    except json.JSONDecodeError as error:
        return f"{error}: {text[max(error.pos - 200, 0) : error.pos + 100]!r}"
    return "nothing is wrong with it"


def _report(seen: dict[str, Any]) -> dict[str, Any]:
    found = seen["found"]
    return {
        "bytes": seen["bytes"],
        "strict_json": seen["strict"],
        "layers": len(found.layers),
        "num_layers": seen["layers"],
        "precisions": found.precisions(),
        "types": found.types(),
        "io": [(tensor.name, tensor.mode, tensor.dtype, tensor.formats) for tensor in found.io],
        "first": found.layers[0].as_json(),
        "metadata": [layer.nodes for layer in found.layers][:4],
    }


@check
def layers_of_a_detailed_engine(scratch: Path) -> Any:
    """FP16 with `profiling_verbosity=DETAILED`: types, precisions, tactics, formats, and the model's nodes."""
    seen = told(scratch, "fp16")
    found = seen["found"]
    assert found.is_detailed, seen["text"][:400]
    assert len(found.layers) == seen["layers"], (len(found.layers), seen["layers"])
    assert {tensor.name for tensor in found.io} == {"x", "y"}, found.io
    assert any(layer.tactic for layer in found.layers), seen["text"][:800]
    assert all(layer.type for layer in found.layers), seen["text"][:800]
    nodes = {node for layer in found.layers for node in layer.nodes}
    missing = {f"Conv_c{index}" for index in range(3)} - nodes
    assert not missing, f"nobody computes {missing}: {[(layer.name, layer.nodes) for layer in found.layers]}"
    tensors = [tensor for layer in found.layers for tensor in (*layer.inputs, *layer.outputs)]
    formats = {tensor.format for tensor in tensors}
    # Of dynamic shapes 8.6 tells neither format nor type, with a context at hand or without (measured).
    unread = {tensor.format for tensor in tensors if tensor.format and not tensor.dtype}
    assert not unread, f"a type is not understood: {unread}"
    odd = [word for word in formats if " " in word]
    return {**_report(seen), "formats": sorted(formats), "formats_in_other_words": odd}


@check
def layers_of_a_calibrated_engine(scratch: Path) -> Any:
    """INT8 by entropy, detailed: once nothing at all was there after such a build."""
    from workers.toolchains.toolchain import CalibrationInput

    data = samples(scratch / "layer-samples.npz", 64)
    seen = told(
        scratch, "int8", calibration=CalibrationInput("ENTROPY_CALIBRATION_2", data_path=data, batch=8)
    )
    assert seen["found"].precisions().get("int8"), f"no layer says INT8: {_report(seen)}"
    return _report(seen)


@check
def layers_of_engines_that_tell_names_alone(scratch: Path) -> Any:
    """The default verbosity, FP16 and calibrated INT8; and NONE, which tells nothing and fails nothing."""
    from farm.domain.inspector_json import parse_inspector
    from workers.toolchains.toolchain import CalibrationInput

    data = samples(scratch / "layer-samples.npz", 64)
    calibration = CalibrationInput("ENTROPY_CALIBRATION_2", data_path=data, batch=8)
    found = {}
    for precision, wanted in (("fp16", {}), ("int8", {"calibration": calibration})):
        seen = told(scratch, precision, verbosity="LAYER_NAMES_ONLY", **wanted)
        layers = seen["found"]
        assert not layers.is_detailed, seen["text"][:400]
        assert "DETAILED" in layers.note, layers.note
        found[precision] = {
            "names": [layer.name for layer in layers.layers],
            "io": [t.name for t in layers.io],
        }
    path = scratch / "layers-none.json"
    build(
        conv_net(scratch / "conv.onnx"),
        scratch / "layers-none.plan",
        [batches(1, 8, 32)],
        "fp16",
        builder_config=options(profiling_verbosity="NONE"),
        layers_path=path,
    )
    text = path.read_text() if path.exists() else ""
    found["none"] = {"text": text[:200], "note": parse_inspector(text).note}
    return found


@check
def times_of_layers_add_up(scratch: Path) -> Any:
    """IProfiler's times of a detailed FP16 engine sum to about the compute time, and bear the layers' names."""
    import numpy as np

    from farm.domain.layer_times import LayerProfile

    engine = scratch / "layers-fp16-detailed.plan"
    seen = told(scratch, "fp16")
    names = {layer.name for layer in seen["found"].layers}
    with loaded(engine) as live:
        inputs = images(32)
        # From a CUDA graph: plain launches of so small a net take longer than its layers.
        session = live.timed_sessions(inputs)[-1]
        for _ in range(50):
            session.iterate()
        compute_ms = float(np.median([session.iterate().compute_ms for _ in range(100)]))
        iterations = tuple(map(tuple, live.profile_layers(inputs, ITERATIONS)))
        profile = LayerProfile(32, {"x": (32, 3, 32, 32)}, live.layer_profiler, iterations)
        # It still runs afterwards.
        live.infer(images(1))
    assert len(iterations) == ITERATIONS
    counts = {len(events) for events in iterations}
    assert counts != {0}, "the profiler was told nothing"
    assert len(counts) == 1, f"iterations report different numbers of layers: {counts}"
    reported = {layer.name for layer in profile.layers()}
    assert reported & names, f"the profiler says {sorted(reported)}, the inspector {sorted(names)}"
    share = profile.total_ms / compute_ms
    detail = {
        "compute_ms": round(compute_ms, 4),
        "layers_ms": round(profile.total_ms, 4),
        "share": round(share, 2),
        "layers": [(layer.name, round(layer.median_ms, 4), layer.count) for layer in profile.layers()],
        "unknown_to_the_inspector": sorted(reported - names),
        "toolchain": str(toolchain().describe().id),
    }
    assert _LEAST_SHARE < share < _MOST_SHARE, f"the layers' times do not add up: {detail}"
    return detail
