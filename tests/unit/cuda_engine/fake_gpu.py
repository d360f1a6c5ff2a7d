"""A make-believe GPU: host memory behind PyCUDA's names."""

from __future__ import annotations

import ctypes
import sys
from enum import Enum
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np


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
        #: What was enqueued, in its order: `event`, `in`, `out`, `run`, `flush`.
        self.done: list[str] = []
        self.event_kinds: set[int] = set()
        #: What was copied in, by its first element.
        self.copied: list[float] = []
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
            def __init__(self, flags: int = 0) -> None:
                driver.event_kinds.add(flags)

            def record(self, stream: Any) -> None:
                driver.done.append("event")

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
            retain_primary_context=Context,
            name=lambda: "Fake",
            compute_capability=lambda: (9, 0),
            get_attribute=lambda name: {"L2": 1 << 10}[name],
        )
        self.device_attribute = SimpleNamespace(L2_CACHE_SIZE="L2")
        self.event_flags = SimpleNamespace(BLOCKING_SYNC=1)
        self.mem_get_info = lambda: (driver.limit - sum(driver.sizes.values()), driver.limit)
        self.Stream = lambda: SimpleNamespace(handle=7, synchronize=lambda: None)
        self.Event = Event
        self.mem_alloc = Allocation
        self.pagelocked_empty = pagelocked_empty

        def copy_in(to: int, array: Any, stream: Any) -> None:
            driver.done.append("in")
            driver.copied.append(float(array.view(np.float32).flat[0]) if array.nbytes % 4 == 0 else 0.0)
            ctypes.memmove(to, array.ctypes.data, array.nbytes)

        def copy_out(array: Any, at: int, stream: Any) -> None:
            driver.done.append("out")
            ctypes.memmove(array.ctypes.data, at, array.nbytes)

        def set_words(at: int, value: int, count: int, stream: Any) -> None:
            driver.done.append("flush")
            assert driver.sizes[at] == 4 * count
            ctypes.memset(at, value, 4 * count)

        self.memcpy_htod_async, self.memcpy_dtoh_async, self.memset_d32_async = copy_in, copy_out, set_words


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
        sys.modules["pycuda.driver"].done.append("run")
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
        self.with_z = with_z
        #: The first one that is made.
        self.context = FakeContext(profiles, with_z)
        self.contexts: list[FakeContext] = []
        self.most_contexts = 99

    def get_tensor_name(self, index: int) -> str:
        return self.names[index]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1,) if name == "z" else (-1, 2)

    def get_tensor_mode(self, name: str) -> Mode:
        return Mode.INPUT if name == "x" else Mode.OUTPUT

    def get_tensor_location(self, name: str) -> Location:
        return Location.DEVICE

    def get_tensor_format(self, name: str, profile: int) -> str:
        return "TensorFormat.LINEAR"

    def get_tensor_dtype(self, name: str) -> str:
        return "DataType.FLOAT"

    def get_tensor_profile_shape(self, name: str, index: int) -> list[tuple[int, ...]]:
        low, high = self.profiles[index]
        return [(low, 2), (low, 2), (high, 2)]

    def create_execution_context(self) -> FakeContext | None:
        if len(self.contexts) == self.most_contexts:
            return None
        self.contexts.append(FakeContext(self.profiles, self.with_z) if self.contexts else self.context)
        return self.contexts[-1]


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
