"""PyTorch and ONNX Runtime on a GPU: transfers, runs and waits stand where the method says."""

from __future__ import annotations

from contextlib import closing
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from farm.domain.methods import SETS, Method
from tests.unit.baselines.fake_cuda import Clock, Event
from workers.toolchains import onnxruntime_cuda_sessions as ort_sessions
from workers.toolchains import torch_sessions

INPUTS = [{"x": np.full((2, 3), turn, np.float32)} for turn in range(3)]
H2D, RUN, D2H = 2.0, 5.0, 1.0


class FakeTensor:
    """A tensor of which only copies matter."""

    def __init__(self, clock: Clock, where: str, value: Any) -> None:
        self.clock, self.where, self.value = clock, where, value

    def copy_(self, other: FakeTensor, *, non_blocking: bool = False) -> FakeTensor:
        if self.where != other.where:
            assert non_blocking or self.where == "pinned"
            self.clock.do(f"{other.where} to {self.where}", H2D if self.where == "cuda" else D2H)
        self.value = other.value
        return self


class FakeEngine:
    """A PyTorch model on the GPU that doubles its input."""

    device = "cuda"

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def settle(self) -> None:
        self.clock.settled += 1

    def on_host(self, inputs: dict[str, Any]) -> list[FakeTensor]:
        return [FakeTensor(self.clock, "host", array) for array in inputs.values()]

    def on_device(self, tensors: list[FakeTensor]) -> list[FakeTensor]:
        return [FakeTensor(self.clock, "cuda", tensor.value) for tensor in tensors]

    def run(self, tensors: list[FakeTensor]) -> list[FakeTensor]:
        self.clock.do(f"run {tensors[0].value[0, 0]:g}", RUN)
        return [FakeTensor(self.clock, "cuda", 2 * tensor.value) for tensor in tensors]

    def leaves(self, results: list[FakeTensor]) -> list[FakeTensor]:
        return results


def fake_torch(clock: Clock) -> Any:
    def event(*, enable_timing: bool, blocking: bool) -> Event:
        assert enable_timing
        clock.done.append(f"event blocking={blocking}")
        return Event(clock)

    def empty_like(tensor: FakeTensor, *, device: str, pin_memory: bool) -> FakeTensor:
        assert (device, pin_memory) == ("cpu", True)
        return FakeTensor(clock, "pinned", tensor.value)

    cuda = SimpleNamespace(Event=event, synchronize=lambda: clock.done.append("wait"))
    return SimpleNamespace(cuda=cuda, empty_like=empty_like)


class FakeValue:
    """A value of ONNX Runtime's in the GPU's memory."""

    def __init__(self, address: int, shape: tuple[int, ...]) -> None:
        self._address, self._shape = address, shape

    def data_ptr(self) -> int:
        return self._address

    def shape(self) -> list[int]:
        return list(self._shape)

    def data_type(self) -> str:
        return "tensor(float)"


class FakeStream:
    """A stream that notes the copies."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def event(self, *, is_blocking: bool = False) -> Event:
        self.clock.done.append(f"event blocking={is_blocking}")
        return Event(self.clock)

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return SimpleNamespace(array=np.zeros(shape, dtype), close=lambda: self.clock.done.append("free"))

    def copy_in(self, address: int, host: Any) -> None:
        self.clock.do(f"in {host[0, 0]:g} at {address}", H2D)

    def copy_out(self, host: Any, address: int) -> None:
        assert host.shape == (2, 10)
        self.clock.do(f"out of {address}", D2H)

    def synchronize(self) -> None:
        self.clock.done.append("wait")


def fake_session(clock: Clock) -> Any:
    binding = SimpleNamespace(
        bind_ortvalue_input=lambda name, value: clock.do(f"bind {name} at {value.data_ptr()}"),
        bind_output=lambda name, device, _number: clock.do(f"bind {name} on {device}"),
        bind_ortvalue_output=lambda name, value: clock.do(f"bind {name} at {value.data_ptr()}"),
        get_outputs=lambda: [FakeValue(70, (2, 10))],
    )

    def run(_binding: Any, options: Any) -> None:
        assert options.said == {"disable_synchronize_execution_providers": "1"}
        clock.do("run", RUN)

    return SimpleNamespace(
        io_binding=lambda: binding,
        get_outputs=lambda: [SimpleNamespace(name="scores")],
        run_with_iobinding=run,
    )


class FakeOrt:
    """The module, as far as a timed session needs it."""

    class RunOptions:
        """What a run is told."""

        def __init__(self) -> None:
            self.said: dict[str, str] = {}

        def add_run_config_entry(self, name: str, value: str) -> None:
            self.said[name] = value

    class OrtValue:
        """Puts arrays on the GPU."""

        @staticmethod
        def ortvalue_from_numpy(array: Any, device: str, _number: int) -> FakeValue:
            assert device == "cuda"
            return FakeValue(30, array.shape)


def opened(kind: str, clock: Clock, method: Method, *, is_blocking: bool = False) -> Any:
    if kind == "torch":
        engine: Any = FakeEngine(clock)
        return torch_sessions.session_by(fake_torch(clock), engine, INPUTS, method, is_blocking=is_blocking)
    stream: Any = FakeStream(clock)
    session = fake_session(clock)
    return ort_sessions.session_by(FakeOrt, session, stream, INPUTS, method, is_blocking=is_blocking)


def methods_of(kind: str, *methods: Method) -> list[Method]:
    clock = Clock()
    if kind == "torch":
        engine: Any = FakeEngine(clock)
        found = torch_sessions.sessions_by(fake_torch(clock), engine, INPUTS, methods)
    else:
        stream: Any = FakeStream(clock)
        found = ort_sessions.sessions_by(FakeOrt, fake_session(clock), stream, INPUTS, methods)
    return [session.method for session in found]  # type: ignore[attr-defined]


both = pytest.mark.parametrize("kind", ["torch", "onnxruntime-cuda"])


@both
def test_with_transfers_each_part_is_timed_by_itself_and_waited_for(kind: str) -> None:
    clock = Clock()
    with closing(opened(kind, clock, Method())) as session:
        clock.done.clear()
        assert session.iterate() == (H2D, RUN, D2H)
        assert clock.done[-1] == "wait"
        assert session.iterate_many(3).tolist() == [[H2D, RUN, D2H]] * 3


@both
def test_inputs_come_from_the_host_in_turns(kind: str) -> None:
    clock = Clock()
    with closing(opened(kind, clock, Method())) as session:
        clock.done.clear()
        session.iterate_many(4)
        fed = [word for word in clock.done if word.startswith("run " if kind == "torch" else "in ")]
    turns = [int(word.split()[1]) for word in fed]
    assert turns == [1, 2, 0, 1]


@both
def test_without_transfers_the_next_run_is_launched_before_the_last_is_waited_for(kind: str) -> None:
    clock = Clock()
    with closing(opened(kind, clock, Method(transfers=False))) as session:
        clock.done.clear()
        assert session.iterate_many(4).tolist() == [[0, RUN, 0]] * 4
        order = ["run" if word.startswith("run") else word for word in clock.done]
        assert order == ["run", "run", "wait", "run", "wait", "run", "wait", "wait"]


@both
def test_a_burst_is_launches_alone(kind: str) -> None:
    clock = Clock()
    with closing(opened(kind, clock, Method())) as session:
        clock.done.clear()
        assert session.burst(5) >= 0
        assert sum(word.startswith("run") for word in clock.done) == 5
        assert [word for word in clock.done if not word.startswith("run")] == ["wait", "wait"]


@both
def test_the_model_has_run_before_anything_is_timed(kind: str) -> None:
    clock = Clock()
    opened(kind, clock, Method(transfers=False)).close()
    assert sum(word.startswith("run") for word in clock.done) >= 3


@both
def test_a_host_that_is_to_sleep_has_events_that_let_it(kind: str) -> None:
    clock = Clock()
    with closing(opened(kind, clock, Method(), is_blocking=True)):
        assert "event blocking=True" in clock.done
        assert "event blocking=False" not in clock.done


@both
def test_what_is_asked_for_beyond_plain_launches_gives_way_to_them(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert methods_of(kind, *SETS["farm"]) == [Method(), Method(transfers=False)]
    assert "not timed as cuda-graph, cuda-graph-compute" in capsys.readouterr().err
    assert methods_of(kind, Method(graph=True, transfers=False)) == [Method(transfers=False)]
    assert methods_of(kind, Method(streams=4)) == [Method()]


@pytest.mark.parametrize("way", ["iterate", "iterate_many", "burst"])
@pytest.mark.parametrize("method", [Method(), Method(transfers=False)])
def test_a_precision_is_set_again_before_every_block_since_others_are_timed_in_turns(
    method: Method, way: str
) -> None:
    clock = Clock()
    with closing(opened("torch", clock, method)) as session:
        before = clock.settled
        getattr(session, way)(*([] if way == "iterate" else [1]))
        assert clock.settled > before


def test_onnx_runtimes_buffers_are_given_back() -> None:
    clock = Clock()
    opened("onnxruntime-cuda", clock, Method()).close()
    assert clock.done.count("free") == len(INPUTS) + 1
    assert clock.done.count("close") == 4 + 2 * 2


def test_outputs_are_bound_where_the_first_run_put_them() -> None:
    clock = Clock()
    opened("onnxruntime-cuda", clock, Method(transfers=False)).close()
    bound = [word for word in clock.done if word.startswith("bind")]
    assert bound == ["bind x at 30", "bind scores on cuda", "bind scores at 70"]
