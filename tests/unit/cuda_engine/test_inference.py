"""A loaded engine's shapes, addresses, turns and buffers are handled right, and nothing is left allocated.

What a real GPU does is in tests/gpu.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from farm.domain.errors import BuildError, InvalidSpecError, OutOfMemoryError
from tests.unit.cuda_engine.fake_gpu import FakeDriver, FakeEngine, fake_trt
from workers.toolchains import cuda_driver, cuda_engine
from workers.toolchains.trt_log import TrtLog


def load(tmp_path: Any, profiles: list[tuple[int, int]], with_z: bool = False) -> Any:
    plan = tmp_path / "engine.plan"
    plan.write_bytes(b"ftrt" + bytes(100))
    engine = FakeEngine(profiles, with_z)
    trt = fake_trt(engine)
    live = cuda_engine.load_engine(trt, TrtLog(trt, "TensorRT 8.6.0"), plan)
    return live, engine.context


def rows(count: int) -> dict[str, Any]:
    return {"x": np.arange(count * 2, dtype=np.float32).reshape(count, 2) - 1}


def test_infers_any_batch_of_the_profile(driver: FakeDriver, tmp_path: Any) -> None:
    live, _ = load(tmp_path, [(1, 8)])
    for count in (1, 8, 3):
        assert (live.infer(rows(count))["y"] == 2 * rows(count)["x"]).all()
    live.close()
    live.close()


def test_picks_the_profile_that_covers_the_shape(driver: FakeDriver, tmp_path: Any) -> None:
    live, context = load(tmp_path, [(1, 2), (4, 8)])
    live.infer(rows(5))
    assert context.profile == 1
    live.infer(rows(1))
    assert context.profile == 0
    with pytest.raises(InvalidSpecError, match="outside the engine's profile: 1x2 to 2x2 or 4x2 to 8x2"):
        live.infer(rows(3))
    live.close()


def test_sessions_of_two_profiles_take_turns(driver: FakeDriver, tmp_path: Any) -> None:
    live, context = load(tmp_path, [(1, 2), (4, 8)])
    (small,), (large,) = live.timed_sessions(rows(2)), live.timed_sessions(rows(8))
    for session, profile in ((small, 0), (large, 1), (small, 0)):
        session.iterate()
        assert context.profile == profile
    live.close()


def test_outputs_outlive_the_engine(driver: FakeDriver, tmp_path: Any) -> None:
    live, _ = load(tmp_path, [(1, 8)])
    output = live.infer(rows(2))["y"]
    live.close()
    assert (output == 2 * rows(2)["x"]).all()


def test_output_whose_size_depends_on_the_data(driver: FakeDriver, tmp_path: Any) -> None:
    live, _ = load(tmp_path, [(1, 64)], with_z=True)
    for count in (2, 64, 1):
        x = rows(count)["x"]
        assert (live.infer({"x": x})["z"] == x[x > 0]).all()
    assert live.infer({"x": np.full((3, 2), -1, np.float32)})["z"].shape == (0,)
    (plain,) = live.timed_sessions(rows(4))
    plain.iterate()
    live.close()


def test_an_output_that_was_given_less_room_than_it_took_is_refused(
    driver: FakeDriver, tmp_path: Any
) -> None:
    live, context = load(tmp_path, [(1, 64)], with_z=True)
    context.knows_most = False
    live.infer(rows(2))
    with pytest.raises(BuildError, match="asked for less memory than output 'z' takes"):
        live.infer(rows(64))
    live.close()


def test_sessions_take_turns_with_inference(driver: FakeDriver, tmp_path: Any) -> None:
    live, context = load(tmp_path, [(1, 8)])
    (first,) = live.timed_sessions(rows(2))
    (second,) = live.timed_sessions(rows(8))
    assert first.iterate() == (0.5, 0.5, 0.5)
    assert context.rows == 2
    binds = context.binds
    first.iterate()
    first.burst(10)
    assert context.binds == binds, "inputs that are in place are not put there again"
    second.iterate()
    live.infer(rows(1))
    first.burst(1)
    assert context.rows == 2
    first.close()
    with pytest.raises(ValueError, match="closed"):
        first.iterate()
    live.close()


def test_no_room_for_the_buffers(driver: FakeDriver, tmp_path: Any) -> None:
    live, _ = load(tmp_path, [(1, 8)])
    driver.limit = 16
    with pytest.raises(OutOfMemoryError, match="out of memory"):
        live.infer(rows(8))
    assert live.infer(rows(1))["y"].shape == (1, 2)
    live.close()


def test_no_room_for_an_output_of_unknown_size(
    driver: FakeDriver, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, _ = load(tmp_path, [(1, 64)], with_z=True)

    def no_room(buffer: Any, size: int) -> None:
        raise OutOfMemoryError("no room to grow")

    monkeypatch.setattr(cuda_driver.DeviceBuffer, "grow", no_room)
    with pytest.raises(OutOfMemoryError, match="no room to grow"):  # raised behind TensorRT's call-back
        live.infer(rows(64))
    live.close()


def test_a_plan_that_does_not_load_leaves_nothing_behind(driver: FakeDriver, tmp_path: Any) -> None:
    plan = tmp_path / "engine.plan"
    plan.write_bytes(b"ftrt" + bytes(100))
    trt = fake_trt(None)
    with pytest.raises(BuildError, match=r"could not load engine.plan on Fake \(compute capability 9.0\)"):
        cuda_engine.load_engine(trt, TrtLog(trt, "TensorRT 8.6.0"), plan)
