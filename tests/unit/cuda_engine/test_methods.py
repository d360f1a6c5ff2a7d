"""By each method an engine is timed as the method's name says: what is enqueued, and in which order.

What a real GPU makes of it is in tests/gpu.
"""

from __future__ import annotations

from contextlib import closing
from itertools import cycle, islice
from typing import Any

import numpy as np
import pytest

from farm.domain.methods import Method
from tests.unit.cuda_engine.fake_gpu import FakeDriver, FakeEngine, fake_trt
from workers.toolchains import cuda_engine
from workers.toolchains.trt_log import TrtLog


def load(tmp_path: Any, *, with_z: bool = False) -> tuple[Any, FakeEngine]:
    plan = tmp_path / "engine.plan"
    plan.write_bytes(b"ftrt" + bytes(100))
    engine = FakeEngine([(1, 8)], with_z)
    trt = fake_trt(engine)
    return cuda_engine.load_engine(trt, TrtLog(trt, "TensorRT 8.6.0"), plan), engine


def turns(count: int = 1) -> list[dict[str, Any]]:
    """Sets of inputs, the first one of ones, the next of twos."""
    return [{"x": np.full((2, 2), number + 1, np.float32)} for number in range(count)]


def enqueued(driver: FakeDriver, live: Any, method: Method, count: int, **options: Any) -> list[str]:
    """What a session of that method enqueues for so many inferences."""
    with closing(live.sessions_by(turns(), [method], **options)) as sessions:
        session = next(sessions)
        session.iterate()
        driver.done.clear()
        for _ in range(count):
            session.iterate()
        assert session.method == method
    return list(driver.done)


@pytest.mark.parametrize(
    ("method", "order"),
    [
        (Method(), "event in event run event out event"),
        (Method(transfers=False), "event run event"),
        (Method(flushed=True), "flush event in event run event out event"),
        (Method(transfers=False, flushed=True), "flush event run event"),
        (Method(streams=2), "event in event run event out event"),
    ],
)
def test_what_is_timed_is_between_the_events(
    driver: FakeDriver, tmp_path: Any, method: Method, order: str
) -> None:
    live, _ = load(tmp_path)
    assert enqueued(driver, live, method, 3) == 3 * order.split()
    live.close()


def test_each_iteration_has_its_times(driver: FakeDriver, tmp_path: Any) -> None:
    live, _ = load(tmp_path)
    with closing(live.sessions_by(turns(), [Method(transfers=False), Method(streams=3)])) as sessions:
        alone = next(sessions)
        assert alone.iterate() == (0.0, 0.5, 0.0)
        assert alone.iterate_many(7).tolist() == 7 * [[0.0, 0.5, 0.0]]
        assert next(sessions).iterate_many(7).tolist() == 7 * [[0.5, 0.5, 0.5]]
    live.close()


def test_inputs_are_there_for_those_who_never_copy_them(driver: FakeDriver, tmp_path: Any) -> None:
    live, engine = load(tmp_path)
    with closing(live.sessions_by(turns(), [Method(transfers=False)])) as sessions:
        next(sessions).iterate()
        assert engine.context.addresses["x"] in driver.sizes
        assert driver.copied == [1.0]
    live.close()


def test_copies_take_the_inputs_in_turns(driver: FakeDriver, tmp_path: Any) -> None:
    live, _ = load(tmp_path)
    with closing(live.sessions_by(turns(3), [Method()])) as sessions:
        session = next(sessions)
        driver.copied.clear()
        for _ in range(6):
            session.iterate()
    at = [1.0, 2.0, 3.0].index(driver.copied[0])
    assert driver.copied == list(islice(cycle([1.0, 2.0, 3.0]), at, at + 6))
    live.close()


def test_each_stream_has_a_context_and_buffers_of_its_own(driver: FakeDriver, tmp_path: Any) -> None:
    live, engine = load(tmp_path)
    with closing(live.sessions_by(turns(), [Method(transfers=False, streams=4)])) as sessions:
        session = next(sessions)
        session.iterate_many(9)
        assert session.method.streams == 4
        assert len(engine.contexts) == 4
        assert len({context.addresses["x"] for context in engine.contexts}) == 4
        driver.done.clear()
        session.burst(6)
        assert driver.done == 6 * ["run"]
    with closing(live.sessions_by(turns(), [Method(streams=2)])) as sessions:
        session = next(sessions)
        driver.done.clear()
        session.burst(2)
        assert driver.done == 2 * ["in", "run", "out"]
    live.close()


def test_streams_that_have_no_room_are_left_out_and_the_log_says_so(
    driver: FakeDriver, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    live, engine = load(tmp_path)
    engine.most_contexts = 3
    wanted = [Method(transfers=False, streams=count) for count in (2, 4)]
    with closing(live.sessions_by(turns(), wanted)) as sessions:
        assert [session.method.streams for session in sessions] == [2]
    assert "4 streams at once can not be timed" in capsys.readouterr().err
    live.close()


def test_without_graphs_each_method_gives_way_to_plain_launches_once(
    driver: FakeDriver, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """There are no cuda-bindings here."""

    def found(*wanted: Method) -> list[str]:
        with closing(live.sessions_by(turns(), wanted)) as sessions:
            return [str(session.method) for session in sessions]

    live, _ = load(tmp_path)
    assert found(Method(), Method(graph=True), Method(graph=True, transfers=False)) == [
        "plain",
        "plain-compute",
    ]
    assert found(Method(graph=True, transfers=False)) == ["plain-compute"]
    assert found(Method(graph=True, transfers=False, streams=2)) == ["plain-compute-s2"]
    assert "no CUDA graph, only plain launches: cuda-bindings are not installed" in capsys.readouterr().err
    live.close()


def test_an_output_of_unknown_size_is_timed_plainly(
    driver: FakeDriver, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    live, _ = load(tmp_path, with_z=True)
    with closing(live.sessions_by(turns(), [Method(), Method(graph=True)])) as sessions:
        for session in sessions:
            session.iterate()
            assert session.method == Method()
    assert "depends on the data" in capsys.readouterr().err
    live.close()


def test_only_who_waits_in_sleep_asks_for_blocking_events(driver: FakeDriver, tmp_path: Any) -> None:
    live, _ = load(tmp_path)
    enqueued(driver, live, Method(), 1)
    assert driver.event_kinds == {0}
    driver.event_kinds.clear()
    enqueued(driver, live, Method(), 1, is_blocking=True)
    assert driver.event_kinds == {1}
    live.close()


def test_a_session_that_is_left_midway_gives_everything_back(driver: FakeDriver, tmp_path: Any) -> None:
    live, _ = load(tmp_path)
    before = driver.live
    sessions = live.sessions_by(turns(2), [Method(streams=3, transfers=False), Method(flushed=True)])
    next(sessions).iterate()
    assert driver.live > before
    sessions.close()
    assert driver.live == before
    live.close()
