"""Timing by each method: with transfers and without, flushed, several streams; and the start-up."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from tensorrt_checks.building import batches, build, conv_engine, loaded, options, worst
from tensorrt_checks.models import conv_net, images
from tensorrt_checks.registry import check

if TYPE_CHECKING:
    from pathlib import Path

_ALONE = ("plain", "plain-compute", "cuda-graph", "cuda-graph-compute")


def _method(name: str) -> Any:
    from farm.domain.methods import Method

    return Method.from_name(name)


def _outputs(launch: Any) -> Any:
    """What the last inference of a launch left on the device."""
    launch.binding.copy_out()
    launch.gpu.synchronize()
    return launch.binding.outputs()["y"]


def _figures(session: Any, count: int = 300) -> dict[str, float]:
    """Medians of the later two thirds, in milliseconds."""
    import numpy as np

    if hasattr(session, "iterate_many"):
        times = session.iterate_many(count)
    else:
        times = np.asarray([session.iterate() for _ in range(count)])
    assert times.shape == (count, 3), times.shape
    assert (times >= 0).all(), times.min(axis=0)
    h2d, compute, d2h = np.median(times[count // 3 :], axis=0)
    assert compute > 0, times[:5]
    burst = 1000 * session.burst(count) / count
    return {"h2d_ms": h2d, "compute_ms": compute, "d2h_ms": d2h, "burst_ms": burst}


@check
def times_by_method(scratch: Path) -> Any:
    """Each method is what its name says, and the engine computes the same under all of them."""
    names = [*_ALONE, *(f"{name}-flushed" for name in _ALONE)]
    figures: dict[str, Any] = {}
    with loaded(conv_engine(scratch, "fp16")) as live:
        wanted = live.infer(images(8))["y"]
        with closing(live.sessions_by([images(8)], [_method(name) for name in names])) as sessions:
            for session in sessions:
                name = str(session.method)
                found = figures[name] = _figures(session)
                launches = getattr(session, "_launches", None) or [session._launch]
                assert worst(_outputs(launches[0]), wanted) < 1e-3, f"{name} computes something else"
                if not session.method.transfers:
                    assert found["h2d_ms"] == found["d2h_ms"] == 0, (name, found)
        assert list(figures) == names, f"timed {list(figures)}, asked for {names}"
        assert worst(live.infer(images(3))["y"], live.infer(images(8))["y"][:3]) < 1e-2
    for name in _ALONE:
        cold, warm = figures[f"{name}-flushed"]["compute_ms"], figures[name]["compute_ms"]
        # What lies in memory is read no faster than what lies in the cache; 2 % for the clock's steps.
        assert cold > 0.98 * warm, f"{name}: {cold} ms with the cache emptied, {warm} ms without: {figures}"
    return figures


@check
def transfers_take_turns(scratch: Path) -> Any:
    """Copies bring another set of inputs each time, and the outputs are that set's."""
    import numpy as np

    sets = [{"x": (number + 1) * images(4)["x"]} for number in range(3)]
    seen = []
    with loaded(conv_engine(scratch)) as live:
        wanted = [live.infer(each)["y"] for each in sets]
        for name in ("plain", "cuda-graph"):
            with closing(live.sessions_by(sets, [_method(name)])) as sessions:
                session = next(sessions)
                for _ in range(7):
                    session.iterate()
                    got = session._launch.binding.outputs()["y"]
                    errors = [worst(got, each) for each in wanted]
                    assert min(errors) < 1e-3, f"the outputs are of no set: {errors}"
                    seen.append(int(np.argmin(errors)))
    assert seen[:6] in ([0, 1, 2, 0, 1, 2], [1, 2, 0, 1, 2, 0], [2, 0, 1, 2, 0, 1]), seen
    return seen


def _streams(live: Any, inputs: Any, counts: tuple[int, ...], *, graph: bool = True) -> dict[str, Any]:
    wanted = live.infer(inputs)["y"]
    kind = "cuda-graph" if graph else "plain"
    asked = [_method(f"{kind}-compute-s{count}") for count in counts]
    figures: dict[str, Any] = {}
    with closing(live.sessions_by([inputs], [_method(f"{kind}-compute"), *asked])) as sessions:
        for session in sessions:
            found = figures[str(session.method)] = _figures(session, 600)
            for number, launch in enumerate(session._launches):
                error = worst(_outputs(launch), wanted)
                assert error < 1e-3, f"{session.method}: stream {number} is off by {error}"
            found["per_second"] = 1000 / found["burst_ms"]
    return figures


@check
def times_several_streams(scratch: Path) -> Any:
    """An engine whose profile may be shared runs in several contexts at once, each right, with graphs and without."""
    import tensorrt as trt

    more = {"preview_features": ["+PROFILE_SHARING_0806"]} if trt.__version__.startswith("8.6") else {}
    plan = scratch / "shared.plan"
    build(conv_net(scratch / "conv.onnx"), plan, [batches(1, 8, 32)], "fp16", builder_config=options(**more))
    with loaded(plan) as live:
        graph = _streams(live, images(8), (2, 4))
        plain = _streams(live, images(8), (2,), graph=False)
        assert list(graph) == ["cuda-graph-compute", "cuda-graph-compute-s2", "cuda-graph-compute-s4"], graph
        assert list(plain) == ["plain-compute", "plain-compute-s2"], plain
        # And the engine's own context is as it was.
        assert live.infer(images(3))["y"].shape == (3, 10)
    return {**graph, **plain}


@check
def several_streams_of_a_profile_that_is_not_shared(scratch: Path) -> Any:
    """Where two contexts can not use a profile, several streams are left out, and all else goes on."""
    with loaded(conv_engine(scratch, "fp16")) as live:
        found = _streams(live, images(8), (2,))
        assert "cuda-graph-compute" in found, found
        assert live.infer(images(3))["y"].shape == (3, 10)
    return found


@check
def measures_until_it_is_sure(scratch: Path) -> Any:
    """The farm's whole measurement of one shape: what it found, and what that took."""
    import time

    from farm.domain.benchmarks import BenchmarkSpec
    from workers.child.measure import measure

    told: dict[str, Any] = {}
    began = time.monotonic()
    with loaded(conv_engine(scratch, "fp16")) as live:
        spec = BenchmarkSpec()
        with closing(live.sessions_by([images(32)], spec.methods)) as sessions:
            is_warm = False
            for session in sessions:
                found, samples = measure(
                    session, spec, 32, {"x": (32, 3, 32, 32)}, lambda share, text: None, is_warm=is_warm
                )
                is_warm = True
                assert found.interval_ms is not None
                assert found.interval_ms[0] <= found.compute.median_ms <= found.interval_ms[1], found
                assert found.compute.count == len(samples)
                told[str(found.method)] = {
                    "median_ms": found.compute.median_ms,
                    "interval_ms": found.interval_ms,
                    "drift_percent": found.drift_percent,
                    "iterations": found.compute.count,
                    "blocks": found.blocks,
                    "warmup_s": found.warmup_s,
                    "per_second": found.throughput_per_s,
                    "taints": found.taints,
                }
    assert list(told) == list(_ALONE), told
    return {"took_s": round(time.monotonic() - began, 2), **told}


@check
def tells_its_start_up(scratch: Path) -> Any:
    """Every step of loading has its time and the memory after it."""
    engine = conv_engine(scratch)
    with loaded(engine) as live:
        live.startup.go_on()
        live.infer(images(8))
        live.startup.done("first inference")
        steps = live.startup.steps
    names = [step["step"] for step in steps]
    assert names == ["device", "runtime", "deserialise", "context", "first inference"], names
    for step in steps:
        assert step["seconds"] > 0, steps
        assert step["device_used_bytes"] > 0, steps
        assert step["host_bytes"] > 0, steps
    used = [step["device_used_bytes"] for step in steps]
    assert used[-1] >= used[0], f"memory in use went down while an engine was loaded: {used}"
    return steps
