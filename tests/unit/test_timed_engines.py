"""Which sessions an engine is timed by, and on which inputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from farm.domain.benchmarks import BenchmarkSpec
from farm.domain.methods import SETS, Method
from farm.domain.models import Tensor
from tests.unit.scripted_session import ScriptedSession
from workers.child.benchmark import sessions_of, time_engine, turns_of
from workers.child.requests import AttemptRequest
from workers.child.timed_call import TimedCall

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

QUICK = BenchmarkSpec(warmup_ms=0, duration_ms=1, min_iterations=3, max_iterations=3, precision_percent=100)


class Engine:
    """One that is timed plainly and as a graph, with transfers."""

    inputs = (Tensor("x", "float32", (-1, 2)), Tensor("size", "int64", (2,)))
    outputs = (Tensor("y", "float32", (-1, 2)),)

    def __init__(self) -> None:
        self.opened: list[ScriptedSession] = []
        self.closed: list[ScriptedSession] = []

    def timed_sessions(self, inputs: Mapping[str, Any]) -> list[Any]:
        return [self._open(Method()), self._open(Method(graph=True))]

    def _open(self, method: Method) -> ScriptedSession:
        session = ScriptedSession(lambda _position: 1.0, method)
        session.close = lambda: self.closed.append(session)  # type: ignore[method-assign]
        self.opened.append(session)
        return session


class EngineByMethod(Engine):
    """One that is timed in every way."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[int, bool]] = []

    def sessions_by(
        self, inputs: Sequence[Mapping[str, Any]], methods: Sequence[Method], *, is_blocking: bool = False
    ) -> Iterator[Any]:
        self.asked.append((len(inputs), is_blocking))
        for method in methods:
            assert self.opened == self.closed, "one at a time"
            yield self._open(method)


def request(spec: BenchmarkSpec = QUICK, **changes: Any) -> AttemptRequest:
    call = TimedCall(8, {"x": (8, 2), "size": (2,)}, {"size": (4, 4)})
    return replace(
        AttemptRequest("fake", "1", Path("engine"), benchmark=spec, timed_calls=(call,)), **changes
    )


def timed(engine: Any, spec: BenchmarkSpec = QUICK, **changes: Any) -> list[str]:
    found = time_engine(engine, request(spec, **changes), lambda _share, _text: None)
    assert set(map(id, engine.closed)) == set(map(id, engine.opened))
    return [str(measurement.method) for measurement in found]


def test_every_method_of_the_farms_own_set_is_a_measurement_of_its_own() -> None:
    assert timed(EngineByMethod()) == ["plain", "plain-compute", "cuda-graph", "cuda-graph-compute"]


@pytest.mark.parametrize(("word", "is_blocking"), [("trtexec-10", True), ("trtexec-11", False)])
def test_trtexecs_sets_are_timed_as_trtexec_waits(word: str, is_blocking: bool) -> None:
    engine = EngineByMethod()
    assert timed(engine, replace(QUICK, method=word)) == [str(method) for method in SETS[word]]
    assert [asked[1] for asked in engine.asked] == [is_blocking]


def test_an_engine_with_fewer_ways_is_timed_by_those_that_were_asked_for() -> None:
    assert timed(Engine()) == ["plain", "cuda-graph"]
    assert timed(Engine(), replace(QUICK, method="cuda-graph")) == ["cuda-graph"]


def test_an_engine_without_the_way_that_was_asked_for_is_timed_plainly_and_says_so() -> None:
    assert timed(Engine(), replace(QUICK, method="trtexec-11")) == ["plain"]


def test_none_of_the_ways_that_were_not_asked_for_is_left_open() -> None:
    engine = Engine()
    sessions = sessions_of(engine, request(), request().timed_calls[0])  # type: ignore[arg-type]
    next(sessions)
    sessions.close()
    assert len(engine.closed) == len(engine.opened) == 2


def test_the_samples_of_each_measurement_are_kept(tmp_path: Path) -> None:
    methods = timed(EngineByMethod(), replace(QUICK, streams=(1, 4)), samples_path=tmp_path / "samples.npz")
    with np.load(tmp_path / "samples.npz") as kept:
        assert len(kept.files) == len(methods) == 5
        assert all(kept[name].shape == (3, 3) for name in kept.files)


def test_whoever_leaves_midway_has_the_session_closed() -> None:
    engine = EngineByMethod()
    sessions = sessions_of(engine, request(), request().timed_calls[0])  # type: ignore[arg-type]
    next(sessions)
    sessions.close()
    assert len(engine.opened) == 1


def inputs_of(rows: int, width: int = 2) -> dict[str, Any]:
    return {
        "x": np.arange(rows * width, dtype=np.float32).reshape(rows, width),
        "size": np.asarray([4, 4], np.int64),
    }


def test_inputs_take_turns_with_their_rows_at_other_places() -> None:
    call = request().timed_calls[0]
    found = turns_of(Engine(), call, inputs_of(8))  # type: ignore[arg-type]
    assert len(found) == 8
    assert len({inputs["x"][0, 0] for inputs in found}) == 8
    for inputs in found:
        assert sorted(inputs["x"][:, 0]) == sorted(inputs_of(8)["x"][:, 0])
        assert inputs["size"].tolist() == [4, 4], "what holds a shape stays what it is"


def test_inputs_that_no_cache_holds_need_no_turns() -> None:
    call = request().timed_calls[0]
    large = {"x": np.zeros((1 << 13, 1 << 11), np.float32), "size": np.zeros(2, np.int64)}  # 64 MiB
    assert len(turns_of(Engine(), call, large)) == 1  # type: ignore[arg-type]
    half = {**large, "x": large["x"][: 1 << 12]}
    assert len(turns_of(Engine(), call, half)) == 2  # type: ignore[arg-type]
