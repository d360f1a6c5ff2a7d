"""A cell built several times in one process: the fastest engine that verifies is kept, with its timing cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorrt_checks.building import batches, loaded, options, toolchain, worst
from tensorrt_checks.models import conv_net, images, reference
from tensorrt_checks.registry import check

if TYPE_CHECKING:
    from pathlib import Path


class Events:
    """What a child says on the way."""

    def __init__(self) -> None:
        self.entered: list[tuple[str, str]] = []

    def enter(self, phase: Any, message: str = "") -> None:
        self.entered.append((phase.value, message))

    def progress(self, fraction: float | None, message: str) -> None:
        pass


def request(folder: Path, count: int, **more: Any) -> Any:
    """Build so often, verify on eight images, time at two batches."""
    import numpy as np

    from farm.domain.benchmarks import BenchmarkSpec
    from workers.child.build_series import BuildSeries
    from workers.child.requests import AttemptRequest
    from workers.child.timed_call import TimedCall
    from workers.toolchains.toolchain import BuildInput

    folder.mkdir(exist_ok=True)
    model, given = conv_net(folder / "model.onnx"), images(8)
    np.savez(folder / "inputs.npz", **given)
    np.savez(folder / "outputs.npz", **reference(model, given))
    engine = folder / "engine"
    build = BuildInput(
        model,
        engine,
        "fp16",
        options(builder_optimization_level=3),
        (batches(1, 8, 8),),
        timing_cache_out=folder / "timing.out",
        layers_path=folder / "layers.json",
    )
    described = toolchain().describe().id
    return AttemptRequest(
        toolchain="tensorrt",
        toolchain_version=described.version,
        engine_path=engine,
        build=build,
        inputs_path=folder / "inputs.npz",
        reference_path=folder / "outputs.npz",
        reference_name="onnxruntime",
        chunk_shapes={"x": (8, 3, 32, 32)},
        benchmark=BenchmarkSpec(batches=(1, 8), warmup_ms=50, duration_ms=200),
        timed_calls=tuple(TimedCall(batch, {"x": (batch, 3, 32, 32)}) for batch in (1, 8)),
        samples_path=folder / "samples.npz",
        series=BuildSeries(count, **more),
    )


@check
def the_fastest_of_three_builds_is_kept(scratch: Path) -> Any:
    """With its samples, its layers and its timing cache; the spread of the three is told."""
    from farm.domain.digests import digest_of_file
    from workers.child.rebuilds import build_and_choose

    folder, events = scratch / "rebuilds", Events()
    asked = request(folder, 3)
    result = build_and_choose(toolchain(), asked, events)
    builds = result.build.details["builds"]
    found = {"builds": builds, "entered": events.entered}
    assert [build["build"] for build in builds] == [1, 2, 3], found
    assert {build["verdict"] for build in builds} == {"accurate enough"}, found
    (kept,) = [build for build in builds if build["kept"]]
    product = [build["median_ms"]["1"] * build["median_ms"]["8"] for build in builds]
    # The figures are rounded.
    assert kept["median_ms"]["1"] * kept["median_ms"]["8"] <= 1.001 * min(product), found
    assert kept["sha256"] == digest_of_file(asked.engine_path).sha256, found
    assert result.build.timing_cache_written, "the kept build came back without a timing cache"
    for path in (asked.build.timing_cache_out, asked.samples_path):
        assert path.exists(), f"{path.name} of the kept build is missing"
    given = images(8)
    with loaded(asked.engine_path) as live:
        error = worst(live.infer(given)["y"], reference(asked.build.model_path, given)["y"])
    assert error < 5e-2, f"the kept engine computes something else: {error}"
    return {"builds": builds, "distinct": len({build["sha256"] for build in builds}), "error": error}


@check
def a_filed_engine_contends_with_new_builds(scratch: Path) -> Any:
    """Loaded, verified and timed with them, and given back as it was if it is the fastest."""
    from workers.child.rebuilds import build_and_choose
    from workers.toolchains.toolchain import BuildOutput

    first = request(scratch / "filed", 2)
    build_and_choose(toolchain(), first, Events())
    facts = BuildOutput(precision_note="as it was", layers=7)
    asked = request(scratch / "contended", 1, filed_path=first.engine_path, filed_output=facts, filed_s=1.0)
    result = build_and_choose(toolchain(), asked, Events())
    builds = result.build.details["builds"]
    assert [build["build"] for build in builds] == [1, "filed"], builds
    assert {build["verdict"] for build in builds} == {"accurate enough"}, builds
    filed = builds[1]
    assert (result.build.precision_note == "as it was") == filed["kept"], builds
    return builds
