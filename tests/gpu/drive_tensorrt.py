"""Drives the TensorRT toolchain on a GPU, in TensorRT's own interpreter, one process per check.

Run it with that interpreter in the project's root; it needs numpy, onnx and onnxruntime there:

    PYTHONPATH=. TRT_PYTHON tests/gpu/drive_tensorrt.py            # every check
    PYTHONPATH=. TRT_PYTHON tests/gpu/drive_tensorrt.py --check timing

Prints one JSON line per check: `{"check": …, "status": "PASS", "seconds": …, "detail": …}`. TensorRT's
log of a failed check goes to stderr. Exits 1 if any failed. A process per check, so that one that
crashes TensorRT does not take the others along.
"""

# ruff: noqa: T201, PT017 - a program that prints its results, run where pytest is not installed

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OPSET = 17  # the newest that TensorRT 8's parser knows
CHECKS: dict[str, Callable[[Path], Any]] = {}


def check(function: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """Registers a check: it gets a scratch folder, and gives back details for the report."""
    CHECKS[function.__name__] = function
    return function


# ---------------------------------------------------------------------------------------- models


def save(
    path: Path,
    nodes: list[Any],
    inputs: list[Any],
    outputs: list[Any],
    weights: Any = None,
    opset: int = OPSET,
) -> Path:
    """An ONNX file; tensors are `(name, type name, shape)`."""
    import onnx
    from onnx import helper, numpy_helper

    def tensor(name: str, kind: str, shape: list[Any]) -> Any:
        return helper.make_tensor_value_info(name, getattr(onnx.TensorProto, kind), shape)

    graph = helper.make_graph(
        nodes,
        path.stem,
        [tensor(*value) for value in inputs],
        [tensor(*value) for value in outputs],
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    onnx.save(model, str(path))
    return path


def node(operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Any:
    """One node, named after its output."""
    from onnx import helper

    return helper.make_node(operator, inputs, outputs, name=f"{operator}_{outputs[0]}", **attributes)


def conv_net(path: Path) -> Path:
    """`x` Nx3x32x32 through three convolutions to `y` Nx10."""
    import numpy as np

    rng = np.random.default_rng(0)
    weights = {
        "w0": rng.normal(0, 0.2, (16, 3, 3, 3)).astype(np.float32),
        "w1": rng.normal(0, 0.1, (32, 16, 3, 3)).astype(np.float32),
        "w2": rng.normal(0, 0.1, (32, 32, 3, 3)).astype(np.float32),
        "wg": rng.normal(0, 0.2, (32, 10)).astype(np.float32),
    }
    nodes = []
    value = "x"
    for index in range(3):
        nodes.append(node("Conv", [value, f"w{index}"], [f"c{index}"], pads=[1, 1, 1, 1]))
        nodes.append(node("Relu", [f"c{index}"], [f"r{index}"]))
        value = f"r{index}"
    nodes += [
        node("GlobalAveragePool", [value], ["pooled"]),
        node("Flatten", ["pooled"], ["flat"]),
        node("MatMul", ["flat", "wg"], ["y"]),
    ]
    return save(path, nodes, [("x", "FLOAT", ["N", 3, 32, 32])], [("y", "FLOAT", ["N", 10])], weights)


def reference(model: Path, inputs: dict[str, Any]) -> dict[str, Any]:
    """What ONNX Runtime computes on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def images(batch: int, seed: int = 1) -> dict[str, Any]:
    """Inputs for `conv_net`."""
    import numpy as np

    return {"x": np.random.default_rng(seed).normal(0, 1, (batch, 3, 32, 32)).astype(np.float32)}


# --------------------------------------------------------------------------------------- building


def toolchain() -> Any:
    """The toolchain under test."""
    from workers.toolchains import load_toolchain

    return load_toolchain("tensorrt")


def options(**more: Any) -> dict[str, Any]:
    """Builder options for a host without cuBLAS and cuDNN, quick to build with."""
    known = {option.name: option for option in toolchain().describe().options}
    sources = known["tactic_sources"].choices
    chosen: dict[str, Any] = {
        "tactic_sources": [f"-{name}" for name in ("CUBLAS", "CUBLAS_LT", "CUDNN") if name in sources]
    }
    if "builder_optimization_level" in known:
        chosen["builder_optimization_level"] = 1
    chosen.update(more)
    return {name: value for name, value in chosen.items() if value not in ([], None)}


def spans(*shapes: tuple[int, ...], name: str = "x") -> Any:
    """One optimization profile of one input: min, opt and max."""
    from farm.domain.shapes import ShapeRange

    return {name: ShapeRange(*shapes)}


def batches(low: int, mid: int, high: int) -> Any:
    """A profile of `conv_net` for these batch sizes."""
    return spans((low, 3, 32, 32), (mid, 3, 32, 32), (high, 3, 32, 32))


def build(model: Path, engine: Path, profiles: Any = (), precision: str = "fp32", **more: Any) -> Any:
    """Builds, and gives back the toolchain's answer."""
    from workers.toolchains.toolchain import BuildInput

    given = {"builder_config": options(), **more}
    request = BuildInput(model, engine, precision, profiles=tuple(profiles), **given)
    return toolchain().build(request, lambda fraction, message: None)


def conv_engine(scratch: Path, precision: str = "fp32") -> Path:
    """The engine of `conv_net` for batches 1 to 32, built once for all checks."""
    engine = scratch / f"conv-{precision}.plan"
    if not engine.exists():
        fresh = engine.with_suffix(".new")
        build(conv_net(scratch / "conv.onnx"), fresh, [batches(1, 8, 32)], precision)
        fresh.replace(engine)
    return engine


@contextmanager
def loaded(engine: Path) -> Iterator[Any]:
    """A live engine, closed at the end."""
    live = toolchain().load(engine)
    try:
        yield live
    finally:
        live.close()


def refused(kind: str, *fragments: str) -> Any:
    """Expects an error of the farm by the name of its class, with fragments in its text."""

    @contextmanager
    def expecting() -> Iterator[list[str]]:
        said: list[str] = []
        try:
            yield said
        except Exception as error:  # noqa: BLE001 - whatever comes is compared with what was expected
            text = f"{error} | {getattr(error, 'hint', '')}"
            said.append(f"{type(error).__name__}: {text}")
            if type(error).__name__ != kind:
                traceback.print_exc()
            assert type(error).__name__ == kind, f"expected {kind}, got {said[0]}"
            for fragment in fragments:
                assert fragment in text, f"{fragment!r} is not in {text!r}"
            return
        raise AssertionError(f"expected {kind}, nothing was raised")

    return expecting()


def worst(got: Any, wanted: Any) -> float:
    """The greatest absolute difference, shapes being equal."""
    import numpy as np

    assert got.shape == wanted.shape, f"shape {got.shape}, not {wanted.shape}"
    return float(np.abs(np.asarray(got, dtype=np.float64) - wanted).max()) if got.size else 0.0


# ----------------------------------------------------------------------------------------- checks


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
                    assert worst(session._binding.outputs()["y"], wanted) < 1e-3
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


@check
def timing_cache_is_lent(scratch: Path) -> Any:
    """A second build with the first one's cache is quicker; bytes are compared and told."""
    import hashlib

    model, cache = conv_net(scratch / "cached.onnx"), scratch / "timing.cache"
    slow = options(builder_optimization_level=None)
    seconds, digests, taken = [], [], []
    for offered in (None, cache):
        began = time.monotonic()
        output = build(
            model,
            scratch / "cached.plan",
            [batches(1, 8, 32)],
            "fp16",
            builder_config=slow,
            timing_cache_in=offered,
            timing_cache_out=scratch / "kept.cache",
        )
        seconds.append(round(time.monotonic() - began, 2))
        assert output.timing_cache_written
        taken.append(output.details["timing_cache_taken"])
        (scratch / "kept.cache").replace(cache)
        digests.append(hashlib.sha256((scratch / "cached.plan").read_bytes()).hexdigest()[:12])
    assert taken == [False, True], taken
    assert seconds[1] < seconds[0], seconds
    garbage = scratch / "garbage.cache"
    garbage.write_bytes(b"not a timing cache" * 100)
    output = build(model, scratch / "g.plan", [batches(1, 8, 32)], timing_cache_in=garbage)
    off = build(
        model,
        scratch / "o.plan",
        [batches(1, 8, 32)],
        builder_config=options(timing_cache=False),
        timing_cache_in=cache,
        timing_cache_out=scratch / "none",
    )
    assert not off.timing_cache_written
    assert not (scratch / "none").exists()
    return {
        "seconds": seconds,
        "digests": digests,
        "bytes": cache.stat().st_size,
        "garbage_taken": output.details["timing_cache_taken"],
    }


@check
def timing_cache_merge(scratch: Path) -> Any:
    """Two builds' caches are combined, and each build finds all of its timings in the combined one."""
    model, first, second = (
        conv_net(scratch / "merged.onnx"),
        scratch / "first.cache",
        scratch / "second.cache",
    )
    usual = options(builder_optimization_level=None)

    def timed(precision: str, offered: Path | None, kept: Path) -> Any:
        plan = scratch / f"merged-{precision}.plan"
        profiles = [batches(1, 8, 32)]
        return build(
            model, plan, profiles, precision,
            builder_config=usual, timing_cache_in=offered, timing_cache_out=kept,
        ).timing_cache  # fmt: skip

    cold = [timed("fp32", None, first), timed("fp16", None, second)]
    both = scratch / "both.cache"
    assert toolchain().merge_timing_caches([first, second], both) == [True, True]
    warm = [timed("fp32", both, scratch / "a"), timed("fp16", both, scratch / "b")]
    garbage = scratch / "no.cache"
    garbage.write_bytes(b"not a timing cache" * 100)
    assert toolchain().merge_timing_caches([first, garbage], scratch / "c") == [True, False]
    assert all(use["taken"] for use in warm), warm
    sizes = [path.stat().st_size for path in (first, second, both)]
    # A log that tells nothing leaves nulls, which is no failure; one that tells must tell of hits.
    assert all(use["hits"] is None or use["hits"] > 0 for use in warm), warm
    assert sizes[2] > max(sizes[:2]), sizes
    return {"cold": cold, "warm": warm, "bytes": sizes}


@check
def timing_cache_of_this_gpu(scratch: Path) -> Any:
    """Leaves the cache of a small build in the scratch folder; what TensorRT said of it, word by word."""
    import tensorrt

    from workers.toolchains.trt_log import log_of

    kept = scratch / "of-this-gpu.cache"
    output = build(
        conv_net(scratch / "of-this-gpu.onnx"),
        scratch / "of-this-gpu.plan",
        [batches(1, 8, 32)],
        builder_config=options(builder_optimization_level=None),
        timing_cache_out=kept,
    )
    return {
        "use": output.timing_cache,
        "said": log_of(tensorrt).cache_lines[-8:],
        "bytes": kept.stat().st_size,
    }


@check
def timing_cache_of_another_gpu(scratch: Path) -> Any:
    """A cache of the host's second GPU is taken by the first one, for a build and for combining."""
    import os

    import pycuda.driver as cuda
    import tensorrt

    from workers.toolchains.trt_log import log_of

    cuda.init()
    if cuda.Device.count() < 2:
        return "not checked: it wants a host with two GPUs"
    there, here = scratch / "there", scratch / "here"
    for folder, gpu in ((there, "1"), (here, "0")):
        folder.mkdir(exist_ok=True)
        words = [sys.executable, __file__, "--check", "timing_cache_of_this_gpu", "--scratch", str(folder)]
        subprocess.run(
            words, env={**os.environ, "CUDA_VISIBLE_DEVICES": gpu}, check=True, capture_output=True
        )
    theirs, mine = (folder / "of-this-gpu.cache" for folder in (there, here))
    output = build(
        conv_net(scratch / "lent.onnx"),
        scratch / "lent.plan",
        [batches(1, 8, 32)],
        builder_config=options(builder_optimization_level=None),
        timing_cache_in=theirs,
        timing_cache_out=scratch / "lent.cache",
    )
    said = log_of(tensorrt).cache_lines[-8:]
    taken = toolchain().merge_timing_caches([mine, theirs], scratch / "both.cache")
    seen = {
        "use": output.timing_cache,
        "said": said,
        "combined": taken,
        "log": log_of(tensorrt).cache_lines[-8:],
    }
    assert output.timing_cache["taken"], seen
    assert taken == [True, True], seen
    return seen


@check
def refuses_foreign_plans(scratch: Path) -> Any:
    """Another version, another product, cut short, garbage: each is told from the others."""
    good = conv_engine(scratch).read_bytes()
    said = {"header": good[:32].hex()}
    cases = {
        "other version": (good[:24] + bytes([10, 16, 1, 11]) + good[28:], "10.16.1"),
        "rtx": (b"vtrt" + good[4:], "TensorRT-RTX"),
        "garbage": (b"hello world" * 100, "not an engine"),
        "empty": (b"", "not an engine"),
        "cut": (good[: len(good) // 2], ""),
    }
    for name, (data, fragment) in cases.items():
        path = scratch / f"{name}.plan"
        path.write_bytes(data)
        with refused("BuildError", fragment) as text:
            toolchain().load(path).close()
        said[name] = text[0]
    with loaded(conv_engine(scratch)) as live:
        live.infer(images(1))
    return said


@check
def int64_input(scratch: Path) -> Any:
    """int64 indices, which TensorRT 8 takes as int32."""
    import numpy as np

    table = np.random.default_rng(0).normal(0, 1, (50, 8)).astype(np.float32)
    model = save(
        scratch / "int64.onnx",
        [node("Gather", ["table", "i"], ["g"]), node("Relu", ["g"], ["y"])],
        [("i", "INT64", ["N"])],
        [("y", "FLOAT", ["N", 8])],
        {"table": table},
    )
    build(model, scratch / "int64.plan", [spans((1,), (4,), (16,), name="i")])
    indices = {"i": np.array([3, 49, 0], np.int64)}
    with loaded(scratch / "int64.plan") as live:
        assert worst(live.infer(indices)["y"], reference(model, indices)["y"]) < 1e-6
        if live.inputs[0].dtype == "int32":
            with refused("InvalidSpecError", "beyond int32"):
                live.infer({"i": np.array([2**40], np.int64)})
        return str(live.inputs[0])


@check
def bool_input_and_output(scratch: Path) -> Any:
    """Truth values in and out."""
    import numpy as np

    model = save(
        scratch / "bool.onnx",
        [node("Where", ["m", "x", "zero"], ["w"]), node("Relu", ["w"], ["y"]), node("Not", ["m"], ["n"])],
        [("m", "BOOL", ["N", 4]), ("x", "FLOAT", ["N", 4])],
        [("y", "FLOAT", ["N", 4]), ("n", "BOOL", ["N", 4])],
        {"zero": np.zeros((1, 4), np.float32)},
    )
    shapes = ((1, 4), (2, 4), (8, 4))
    build(model, scratch / "bool.plan", [{**spans(*shapes, name="m"), **spans(*shapes, name="x")}])
    rng = np.random.default_rng(0)
    inputs = {"m": rng.random((3, 4)) > 0.5, "x": rng.normal(0, 1, (3, 4)).astype(np.float32)}
    wanted = reference(model, inputs)
    with loaded(scratch / "bool.plan") as live:
        got = live.infer(inputs)
        assert worst(got["y"], wanted["y"]) < 1e-6
        assert got["n"].dtype == np.bool_, got["n"].dtype
        assert (got["n"] == wanted["n"]).all()
        return [str(tensor) for tensor in (*live.inputs, *live.outputs)]


@check
def data_dependent_output(scratch: Path) -> Any:
    """NonZero: the output's shape follows from the data, through an output allocator."""
    import numpy as np

    model = save(
        scratch / "nonzero.onnx",
        [node("Relu", ["x"], ["r"]), node("NonZero", ["r"], ["y"])],
        [("x", "FLOAT", ["N", 64])],
        [("y", "INT64", [2, "M"])],
    )
    build(model, scratch / "nonzero.plan", [spans((1, 64), (4, 64), (512, 64))])
    found = {}
    with loaded(scratch / "nonzero.plan") as live:
        for rows in (2, 512, 1):
            inputs = {"x": np.random.default_rng(rows).normal(0, 1, (rows, 64)).astype(np.float32)}
            got = live.infer(inputs)["y"]
            assert (got == np.array(np.nonzero(np.maximum(inputs["x"], 0)))).all()
            found[rows] = got.shape
        nothing = live.infer({"x": np.full((2, 64), -1, np.float32)})["y"]
        assert nothing.shape == (2, 0), nothing.shape
        sessions = live.timed_sessions({"x": np.ones((4, 64), np.float32)})
        assert [session.is_graph for session in sessions] == [False]
        times = [sessions[0].iterate() for _ in range(10)][-1]
        assert sessions[0]._binding.outputs()["y"].shape == (2, 256)
        return {"shapes": found, "times": times._asdict(), "dtype": live.outputs[0].dtype}


@check
def half_and_static_io(scratch: Path) -> Any:
    """A static model with half-precision input and output, and a scalar output."""
    import numpy as np

    model = save(
        scratch / "half.onnx",
        [
            node("Relu", ["x"], ["y"]),
            node("Cast", ["y"], ["f"], to=1),
            node("ReduceSum", ["f"], ["s"], keepdims=0),
        ],
        [("x", "FLOAT16", [2, 8])],
        [("y", "FLOAT16", [2, 8]), ("s", "FLOAT", [])],
    )
    build(model, scratch / "half.plan", (), "fp16")
    inputs = {"x": np.random.default_rng(0).normal(0, 1, (2, 8)).astype(np.float16)}
    wanted = reference(model, inputs)
    with loaded(scratch / "half.plan") as live:
        got = live.infer(inputs)
        assert got["y"].dtype == np.float16
        assert worst(got["y"], wanted["y"]) < 1e-3
        assert worst(got["s"], wanted["s"]) < 1e-2, (got["s"], wanted["s"])
        sessions = live.timed_sessions(inputs)
        assert len(sessions) == 2
        sessions[1].iterate()
        return [str(tensor) for tensor in (*live.inputs, *live.outputs)]


@check
def two_profiles(scratch: Path) -> Any:
    """Each batch runs in the profile that covers it; graphs too, when profiles alternate."""
    model = conv_net(scratch / "profiles.onnx")
    build(model, scratch / "profiles.plan", [batches(1, 2, 4), batches(6, 8, 16)])
    errors = {}
    with loaded(scratch / "profiles.plan") as live:
        for batch in (1, 16, 4, 6):
            errors[batch] = worst(live.infer(images(batch))["y"], reference(model, images(batch))["y"])
        small, large = live.timed_sessions(images(2)), live.timed_sessions(images(8))
        for session in (*small, *large, *small):
            session.iterate()
        with refused("InvalidSpecError", "outside the engine's profile"):
            live.infer(images(5))
    assert max(errors.values()) < 1e-4, errors
    return errors


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


# ------------------------------------------------------------------------------------------- main


def run_check(name: str, scratch: Path) -> int:
    """Runs one check in this process and prints its line."""
    import faulthandler

    faulthandler.enable()
    began = time.monotonic()
    line: dict[str, Any] = {"check": name, "status": "PASS"}
    try:
        line["detail"] = CHECKS[name](scratch)
    except Exception as error:  # noqa: BLE001 - a failed check is reported, the others go on
        traceback.print_exc()
        line.update(status="FAIL", detail=f"{type(error).__name__}: {error}")
    line["seconds"] = round(time.monotonic() - began, 1)
    print(json.dumps(line, default=str), flush=True)
    return line["status"] != "PASS"


def main() -> int:
    """Runs one check here, or all of them, each in a process of its own."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--check", choices=sorted(CHECKS))
    ask.add_argument("--scratch", type=Path, help="folder to build in; engines there are used again")
    args = ask.parse_args()
    scratch = args.scratch or Path(tempfile.mkdtemp(prefix="drive-tensorrt-"))
    scratch.mkdir(parents=True, exist_ok=True)
    if args.check:
        return run_check(args.check, scratch)
    failed = 0
    for name in list(CHECKS):
        words = [sys.executable, __file__, "--check", name, "--scratch", str(scratch)]
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
        print(done.stdout, end="", flush=True)
        if done.returncode:
            failed += 1
            if not done.stdout or '"PASS"' in done.stdout:
                print(
                    json.dumps({"check": name, "status": "FAIL", "detail": f"exit status {done.returncode}"})
                )
            print("\n".join(done.stderr.splitlines()[-60:]), file=sys.stderr, flush=True)
    print(json.dumps({"checks": len(CHECKS), "failed": failed}), flush=True)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
