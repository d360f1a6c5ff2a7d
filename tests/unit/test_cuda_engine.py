"""The loaded engine's book-keeping, on a make-believe GPU: host memory behind PyCUDA's names.

What a real GPU does is in tests/gpu; this shows that shapes, addresses, turns and buffers are
handled right, and that nothing is left allocated.
"""

from __future__ import annotations

import ctypes
import sys
from enum import Enum
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from farm.domain.errors import BuildError, InvalidSpecError, OutOfMemoryError
from workers.toolchains import cuda_driver, cuda_engine
from workers.toolchains.cuda_arrays import EngineTensor, as_caller_sees, prepare
from workers.toolchains.trt_log import TrtLog

if TYPE_CHECKING:
    from collections.abc import Iterator


class Mode(Enum):
    INPUT = 0
    OUTPUT = 1


class Location(Enum):
    DEVICE = 0
    HOST = 1


class FakeDriver(ModuleType):
    """`pycuda.driver` on host memory; counts what is allocated."""

    class Error(Exception):  # noqa: D106
        pass

    class MemoryError(Error):  # noqa: D106
        pass

    def __init__(self) -> None:
        super().__init__("pycuda.driver")
        self.live = 0
        self.contexts = 0
        self.limit = 1 << 30
        self.sizes: dict[int, int] = {}
        driver = self

        class Allocation:
            def __init__(self, size: int) -> None:
                if size > driver.limit:
                    raise driver.MemoryError("cuMemAlloc failed: out of memory")
                self.memory = (ctypes.c_ubyte * size)()
                driver.live += 1
                driver.sizes[int(self)] = size

            def __int__(self) -> int:
                return ctypes.addressof(self.memory)

            def free(self) -> None:
                assert self.memory is not None, "freed twice"
                self.memory = None  # type: ignore[assignment]
                driver.live -= 1

        class Context:
            def push(self) -> None:
                driver.contexts += 1

            def pop(self) -> None:
                driver.contexts -= 1

        class Event:
            def record(self, stream: Any) -> None: ...
            def synchronize(self) -> None: ...
            def time_till(self, other: Any) -> float:
                return 0.5

        def pagelocked_empty(size: int, dtype: Any) -> Any:
            owner = Allocation(size)
            array = np.frombuffer(owner.memory, dtype)
            return SimpleArray(array, owner)

        class SimpleArray:
            """What is used of an array whose base can be freed."""

            def __init__(self, array: Any, owner: Any) -> None:
                self.array, self.base, self.ctypes = array, owner, array.ctypes

            def __getitem__(self, item: Any) -> Any:
                return self.array[item]

        self.init = lambda: None
        self.Device = lambda index: SimpleNamespace(
            retain_primary_context=Context, name=lambda: "Fake", compute_capability=lambda: (9, 0)
        )
        self.Stream = lambda: SimpleNamespace(handle=7, synchronize=lambda: None)
        self.Event = Event
        self.mem_alloc = Allocation
        self.pagelocked_empty = pagelocked_empty
        self.memcpy_htod_async = lambda to, array, stream: ctypes.memmove(to, array.ctypes.data, array.nbytes)
        self.memcpy_dtoh_async = lambda array, at, stream: ctypes.memmove(array.ctypes.data, at, array.nbytes)


class FakeContext:
    """Doubles `x` (N, 2) into `y`, and puts its positive values into `z`, whose length depends on the data."""

    def __init__(self, profiles: list[tuple[int, int]], with_z: bool) -> None:
        self.profiles, self.with_z = profiles, with_z
        self.addresses: dict[str, int] = {}
        self.allocator: Any = None
        self.z_shape: tuple[int, ...] = (-1,)
        self.z_where = 0
        self.knows_most = True
        self.profile = -1
        self.rows = 0
        self.binds = 0

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        self.profile = index
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.binds += 1
        low, high = self.profiles[self.profile]
        self.rows = shape[0]
        return low <= shape[0] <= high

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def infer_shapes(self) -> list[str]:
        return []

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        # As TensorRT 8.6 does: unknown before the first inference, then what came of the last one's data.
        return self.z_shape if name == "z" else (self.rows, 2)

    def set_output_allocator(self, name: str, allocator: Any) -> bool:
        self.allocator = allocator
        return True

    def get_max_output_size(self, name: str) -> int:
        return 4 * 2 * self.rows if self.knows_most else -1

    def execute_async_v3(self, handle: int) -> bool:
        count = self.rows * 2
        x = np.frombuffer((ctypes.c_float * count).from_address(self.addresses["x"]), np.float32)
        y = np.frombuffer((ctypes.c_float * count).from_address(self.addresses["y"]), np.float32)
        y[:] = 2 * x
        if self.with_z:
            positive = x[x > 0]
            # As TensorRT 8.6 does: at first it asks for the most, then for what the inference before has taken.
            wanted = 4 * 2 * self.rows if self.z_shape == (-1,) else 4 * self.z_shape[0]
            self.z_where = self.allocator.reallocate_output("z", self.z_where, wanted, 512)
            if not self.z_where and positive.nbytes:
                return False
            room = sys.modules["pycuda.driver"].sizes[self.z_where]
            ctypes.memmove(self.z_where, positive.ctypes.data, min(positive.nbytes, room))
            self.allocator.notify_shape("z", positive.shape)
            self.z_shape = positive.shape
        return True


class FakeEngine:
    def __init__(self, profiles: list[tuple[int, int]], with_z: bool) -> None:
        self.names = ["x", "y", *(["z"] if with_z else [])]
        self.profiles = profiles
        self.num_io_tensors = len(self.names)
        self.num_optimization_profiles = len(profiles)
        self.context = FakeContext(profiles, with_z)

    def get_tensor_name(self, index: int) -> str:
        return self.names[index]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1,) if name == "z" else (-1, 2)

    def get_tensor_mode(self, name: str) -> Mode:
        return Mode.INPUT if name == "x" else Mode.OUTPUT

    def get_tensor_location(self, name: str) -> Location:
        return Location.DEVICE

    def get_tensor_dtype(self, name: str) -> str:
        return "DataType.FLOAT"

    def get_tensor_profile_shape(self, name: str, index: int) -> list[tuple[int, ...]]:
        low, high = self.profiles[index]
        return [(low, 2), (low, 2), (high, 2)]

    def create_execution_context(self) -> FakeContext:
        return self.context


class Plain:
    def __init__(self) -> None: ...


def fake_trt(engine: Any) -> Any:
    """As much of a TensorRT module as loading takes."""
    severity = SimpleNamespace(__members__={name: name for name in ("ERROR", "WARNING", "INFO", "VERBOSE")})
    trt = SimpleNamespace(
        __name__="tensorrt",
        __version__="8.6.0",
        ILogger=type("ILogger", (Plain,), {"Severity": severity}),
        IOutputAllocator=type("IOutputAllocator", (Plain,), {}),
        TensorIOMode=Mode,
        TensorLocation=Location,
    )
    trt.Runtime = lambda logger: SimpleNamespace(deserialize_cuda_engine=lambda plan: engine)
    return trt


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDriver]:
    fake = FakeDriver()
    package = ModuleType("pycuda")
    package.driver = fake  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", fake)
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    monkeypatch.setattr(cuda_driver, "require_device", lambda: None)
    yield fake
    assert fake.live == 0, "buffers were left behind"
    assert fake.contexts == 0, "a context was left on the stack"


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


def tensor(dtype: str, shape: tuple[int, ...] = (-1,)) -> EngineTensor:
    return EngineTensor("i", dtype, shape, is_input=True)


def test_int64_is_taken_where_the_engine_has_int32() -> None:
    array = prepare([tensor("int32")], {"i": np.array([1, -2], np.int64)})["i"]
    assert array.dtype == np.int32
    assert array.tolist() == [1, -2]
    with pytest.raises(InvalidSpecError, match="beyond int32"):
        prepare([tensor("int32")], {"i": np.array([2**31], np.int64)})


@pytest.mark.parametrize(
    ("dtype", "array"),
    [
        ("float32", np.zeros(2, np.complex64)),
        ("int32", np.zeros(2, np.float32)),
        ("bool", np.zeros(2, np.int32)),
    ],
)
def test_arrays_of_another_kind_are_refused(dtype: str, array: Any) -> None:
    with pytest.raises(InvalidSpecError, match="does not fit input i"):
        prepare([tensor(dtype)], {"i": array})


def test_scalars_and_strided_arrays_keep_their_shape() -> None:
    assert prepare([tensor("float32", ())], {"i": np.float32(3)})["i"].shape == ()
    strided = np.arange(8, dtype=np.float32)[::2]
    assert prepare([tensor("float32")], {"i": strided})["i"].tolist() == [0, 2, 4, 6]


def test_bfloat16_rounds_to_nearest_even_and_comes_back_exactly() -> None:
    values = np.array([1.0, -2.5, 1 + 2**-8, 1 + 3 * 2**-8, np.inf, np.nan, 0.0], np.float32)
    bits = prepare([tensor("bfloat16")], {"i": values})["i"]
    assert bits.dtype == np.uint16
    back = as_caller_sees(tensor("bfloat16"), bits)
    np.testing.assert_array_equal(back, np.array([1, -2.5, 1, 1 + 2**-6, np.inf, np.nan, 0], np.float32))
    assert (prepare([tensor("bfloat16")], {"i": bits})["i"] == bits).all()
