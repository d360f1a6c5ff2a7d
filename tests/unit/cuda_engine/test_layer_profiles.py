"""TensorRT's profiler is asked for iterations of their own, and is let go of at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from farm.domain.errors import InvalidSpecError
from farm.domain.layer_times import LayerEvent
from tests.unit.cuda_engine.fake_gpu import FakeContext, FakeEngine, Plain, fake_trt
from workers.toolchains import cuda_engine
from workers.toolchains.toolchain import ProfilesLayers
from workers.toolchains.trt_log import TrtLog

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cuda_engine.fake_gpu import FakeDriver

LAYERS = [("conv + relu", 0.25), ("reformat", 0.125)]


class ProfilingContext(FakeContext):
    """Reports two layers for every launch while it has a profiler that is to be told."""

    profiler: Any = None
    enqueue_emits_profile = False

    def __init__(self) -> None:
        super().__init__([(1, 8)], with_z=False)
        self.launches = 0
        self.seen: list[Any] = []

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "profiler":
            self.__dict__.setdefault("seen", []).append(value)
        super().__setattr__(name, value)

    def execute_async_v3(self, handle: int) -> bool:
        self.launches += 1
        if self.profiler is not None and self.enqueue_emits_profile:
            for name, ms in LAYERS:
                self.profiler.report_layer_time(name, ms)
        return super().execute_async_v3(handle)


@pytest.fixture
def live(driver: FakeDriver, tmp_path: Path) -> Any:
    """A loaded engine, and its context."""
    plan = tmp_path / "engine.plan"
    plan.write_bytes(b"ftrt" + bytes(100))
    engine = FakeEngine([(1, 8)], with_z=False)
    engine.context = ProfilingContext()
    trt = fake_trt(engine)
    trt.IProfiler = type("IProfiler", (Plain,), {})
    loaded = cuda_engine.load_engine(trt, TrtLog(trt, "TensorRT 8.6.0"), plan)
    yield loaded, engine.context
    loaded.close()


def rows(count: int) -> dict[str, Any]:
    return {"x": np.zeros((count, 2), np.float32)}


def test_every_iteration_has_its_layers_in_the_order_in_which_they_are_reported(live: Any) -> None:
    loaded, _ = live
    assert isinstance(loaded, ProfilesLayers)
    wanted = tuple(LayerEvent(name, "", -1.0, ms) for name, ms in LAYERS)
    assert loaded.profile_layers(rows(4), 5) == [wanted] * 5


def test_launches_before_the_counted_ones_warm_up(live: Any) -> None:
    loaded, context = live
    loaded.profile_layers(rows(4), 5)
    assert context.launches == 1 + 3 + 5


def test_the_profiler_is_silent_afterwards(live: Any) -> None:
    loaded, context = live
    loaded.profile_layers(rows(4), 1)
    assert not context.enqueue_emits_profile
    assert len(context.seen) == 1, (
        "TensorRT 8.6 takes no other profiler than one: none would be an error in its log"
    )


def test_nobody_is_profiled_while_an_engine_only_runs(live: Any) -> None:
    loaded, context = live
    loaded.infer(rows(4))
    assert context.seen == []


def test_a_batch_that_the_engine_does_not_take_is_refused(live: Any) -> None:
    loaded, _ = live
    with pytest.raises(InvalidSpecError, match="outside the engine's profile"):
        loaded.profile_layers(rows(9), 1)
