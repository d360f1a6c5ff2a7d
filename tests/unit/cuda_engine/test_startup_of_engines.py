"""Loading an engine onto a GPU tells each of its steps, and what memory was free after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.unit.cuda_engine.fake_gpu import FakeEngine, fake_trt
from workers.toolchains import cuda_engine
from workers.toolchains.timing import TellsStartup
from workers.toolchains.trt_log import TrtLog

if TYPE_CHECKING:
    from tests.unit.cuda_engine.fake_gpu import FakeDriver


def test_loading_has_steps_and_the_child_adds_its_own(driver: FakeDriver, tmp_path: Any) -> None:
    plan = tmp_path / "engine.plan"
    plan.write_bytes(b"ftrt" + bytes(100))
    trt = fake_trt(FakeEngine([(1, 8)], with_z=False))
    live = cuda_engine.load_engine(trt, TrtLog(trt, "TensorRT 8.6.0"), plan)
    assert isinstance(live, TellsStartup)
    assert [step["step"] for step in live.startup.steps] == ["device", "runtime", "deserialise", "context"]
    driver.limit -= 1 << 20
    live.startup.done("first inference")
    before, after = live.startup.steps[-2:]
    assert before["device_free_bytes"] - after["device_free_bytes"] == 1 << 20
    live.close()
