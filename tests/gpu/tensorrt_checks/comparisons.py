"""Two engines in turn in one process, and the canary that comes with the farm."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tensorrt_checks.building import build, conv_engine, options, spans, toolchain
from tensorrt_checks.registry import check

if TYPE_CHECKING:
    from pathlib import Path

SHAPES = {"x": (32, 3, 32, 32)}
IMAGE = (64, 56, 56)


def compared(first: Path, second: Path, **wishes: Any) -> list[Any]:
    """What comes of holding one engine of `conv_net` against another at batch 32, in every way."""
    from contextlib import closing

    from farm.domain.benchmarks import BenchmarkSpec
    from workers.child.compare import compare_with_rival
    from workers.child.loading import load_engine
    from workers.child.requests import AttemptRequest
    from workers.child.rival_request import Rival
    from workers.child.timed_call import TimedCall

    calls = (TimedCall(32, SHAPES),)
    request = AttemptRequest(
        toolchain="tensorrt",
        toolchain_version=toolchain().describe().id.version,
        engine_path=first,
        benchmark=BenchmarkSpec(batches=(32,), **wishes),
        timed_calls=calls,
        rival=Rival(second, calls),
    )
    with closing(load_engine(toolchain(), request, None)) as engine:
        return compare_with_rival(toolchain(), engine, request, lambda _share, _message: None)


@check
def an_engine_beside_itself_is_as_fast_as_itself(scratch: Path) -> Any:
    """Two copies, live at once, in turn: within one percent of each other in every way of launching."""
    engine = conv_engine(scratch)
    found = compared(engine, engine)
    told = {one.method: one.verdict for one in found}
    methods = set(told)
    assert {"plain", "cuda-graph-compute"} <= methods, f"compared by {sorted(methods)} alone: {told}"
    far = {one.method: one.as_json() for one in found if abs(one.ratio - 1) > 0.01}
    assert not far, f"an engine is not as fast as itself: {far}"
    return {one.method: (one.pairs, one.ratio, one.ratio_interval, one.verdict) for one in found}


@check
def an_engine_that_computes_less_is_told_to_be_faster(scratch: Path) -> Any:
    """FP16 against FP32, with CUDA graphs: whichever is faster is so by more than the interval."""
    found = compared(conv_engine(scratch), conv_engine(scratch, "fp16"), method="cuda-graph-compute")
    (one,) = found
    low, high = one.ratio_interval
    assert high - low < 0.05, f"the ratio is known to no better than {one.ratio_interval}: {one.as_json()}"
    return {"verdict": one.verdict, "pairs": one.pairs, "a_ms": one.a_median_ms, "b_ms": one.b_median_ms}


@check
def the_canary_is_steady(scratch: Path) -> Any:
    """Built as workers build it; three times a second of it, with medians within one percent of each other."""
    from contextlib import closing

    from farm.domain.benchmarks import BenchmarkSpec
    from farm.samples import canary_model
    from workers.child.benchmark import time_engine
    from workers.child.loading import load_engine
    from workers.child.requests import AttemptRequest
    from workers.child.timed_call import TimedCall

    engine, shape = scratch / "canary.plan", (16, *IMAGE)
    profile = spans((1, *IMAGE), shape, shape, name="image")
    # As `workers/canary_engine.py` builds it, but for the level.
    build(canary_model(), engine, [profile], builder_config=options(builder_optimization_level=3))
    spec = BenchmarkSpec(
        (16,),
        warmup_ms=500,
        duration_ms=500,
        max_duration_ms=3000,
        method="cuda-graph-compute",
        precision_percent=1.0,
    )
    request = AttemptRequest(
        toolchain="tensorrt",
        toolchain_version=toolchain().describe().id.version,
        engine_path=engine,
        benchmark=spec,
        timed_calls=(TimedCall(16, {"image": shape}),),
    )
    found = []
    for number in range(3):
        asked = replace(request, samples_path=scratch / f"canary-{number}.npz")
        with closing(load_engine(toolchain(), asked, None)) as live:
            (measurement,) = time_engine(live, asked, lambda _share, _message: None)
        found.append(measurement)
    medians = [one.compute.median_ms for one in found]
    told = {
        "medians_ms": medians,
        "intervals_ms": [one.interval_ms for one in found],
        "method": str(found[0].method),
        "taints": [one.taints for one in found],
    }
    assert max(medians) / min(medians) < 1.01, f"the canary is not steady: {told}"
    assert 0.05 < medians[0] < 100, f"the canary is too short or too long to tell anything: {told}"
    return told
