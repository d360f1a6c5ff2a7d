"""An engine whose inputs and outputs lie in vectors, are int8, or hold a shape, is fed and read like any other."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

from farm.domain.errors import InvalidSpecError
from farm.domain.shapes import ShapeRange
from tests.unit.cuda_engine.fake_gpu import FakeContext, FakeDriver, FakeEngine, Location, Mode, fake_trt
from workers.toolchains import cuda_engine
from workers.toolchains.cuda_arrays import EngineTensor, choose_profile, prepare
from workers.toolchains.engine_tensors import read_tensors
from workers.toolchains.io_layouts import pack, packed_shape, unpack
from workers.toolchains.trt_log import TrtLog

SHAPE = (3, 2, 2)


class VectorContext(FakeContext):
    """Doubles `x` (N, 3, 2, 2) into `y`, both where their formats want them."""

    def __init__(self, formats: dict[str, str], dtype: str) -> None:
        super().__init__([(1, 8)], with_z=False)
        self.formats, self.dtype = formats, np.dtype(dtype)

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (self.rows, *SHAPE)

    def execute_async_v3(self, handle: int) -> bool:
        x = unpack(self.formats["x"], self._memory("x"), (self.rows, *SHAPE))
        self._memory("y")[...] = pack(self.formats["y"], 2 * x)
        return True

    def _memory(self, name: str) -> Any:
        shape = packed_shape(self.formats[name], (self.rows, *SHAPE))
        count = int(np.prod(shape)) * self.dtype.itemsize
        memory = (ctypes.c_ubyte * count).from_address(self.addresses[name])
        return np.frombuffer(memory, self.dtype).reshape(shape)


class VectorEngine(FakeEngine):
    """Of one profile."""

    def __init__(self, formats: dict[str, str], dtype: str) -> None:
        super().__init__([(1, 8)], with_z=False)
        self.formats = formats
        self.dtype = dtype
        self.context = VectorContext(formats, dtype)

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1, *SHAPE)

    def get_tensor_format(self, name: str, profile: int) -> str:
        return f"TensorFormat.{'LINEAR' if self.formats[name] == 'chw' else self.formats[name].upper()}"

    def get_tensor_dtype(self, name: str) -> str:
        return {"float16": "DataType.HALF", "int8": "DataType.INT8", "float32": "DataType.FLOAT"}[self.dtype]

    def get_tensor_profile_shape(self, name: str, index: int) -> list[tuple[int, ...]]:
        return [(1, *SHAPE), (4, *SHAPE), (8, *SHAPE)]


def live(tmp_path: Any, engine: FakeEngine) -> Any:
    plan = tmp_path / "engine.plan"
    plan.write_bytes(b"ftrt" + bytes(100))
    trt = fake_trt(engine)
    return cuda_engine.load_engine(trt, TrtLog(trt, "TensorRT 8.6.0"), plan)


def numbers(count: int) -> Any:
    return np.arange(count * 12, dtype=np.float32).reshape(count, *SHAPE) / 4 - 1


@pytest.mark.parametrize(
    ("formats", "dtype"),
    [
        ({"x": "chw16", "y": "chw"}, "float16"),
        ({"x": "hwc8", "y": "chw2"}, "float16"),
        ({"x": "hwc", "y": "chw32"}, "float32"),
    ],
)
def test_arrays_are_packed_and_unpacked(
    driver: FakeDriver, tmp_path: Any, formats: dict[str, str], dtype: str
) -> None:
    engine = live(tmp_path, VectorEngine(formats, dtype))
    for count in (1, 8, 3):
        found = engine.infer({"x": numbers(count)})["y"]
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, 2 * numbers(count))
    (session,) = engine.timed_sessions({"x": numbers(4)})
    session.iterate()
    engine.close()


def test_int8_takes_and_gives_floats_by_its_scale(driver: FakeDriver, tmp_path: Any) -> None:
    engine = live(tmp_path, VectorEngine({"x": "chw4", "y": "chw32"}, "int8"))
    with pytest.raises(InvalidSpecError, match="does not fit input x int8"):
        engine.infer({"x": numbers(1)})
    engine.use_scales({"x": 0.25, "y": 0.25})
    np.testing.assert_array_equal(engine.infer({"x": numbers(1)})["y"], 2 * numbers(1))
    steps = np.full((1, *SHAPE), 3, np.int8)
    np.testing.assert_array_equal(engine.infer({"x": steps})["y"], np.full((1, *SHAPE), 1.5))
    engine.close()


def test_what_is_beyond_the_range_of_int8_is_its_end() -> None:
    x = EngineTensor("x", "int8", (-1,), is_input=True, scale=0.25)
    given = np.array([-1000, -0.3, 0.4, 1000], np.float32)
    assert prepare([x], {"x": given})["x"].tolist() == [-128, -1, 2, 127]


# What an engine says of its inputs.


class ShapeEngine:
    """`size`, two values on the host, beside `x` on the device; `calls` is how a release tells the values."""

    num_io_tensors, num_optimization_profiles = 2, 2

    def get_tensor_name(self, index: int) -> str:
        return ("x", "size")[index]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1, 4) if name == "x" else (2,)

    def get_tensor_mode(self, name: str) -> Mode:
        return Mode.INPUT

    def get_tensor_location(self, name: str) -> Location:
        return Location.HOST if name == "size" else Location.DEVICE

    def get_tensor_dtype(self, name: str) -> str:
        return "DataType.FLOAT" if name == "x" else "DataType.INT32"

    def get_tensor_profile_shape(self, name: str, index: int) -> list[tuple[int, ...]]:
        return [(1, 4), (2, 4), (8, 4)]

    def get_tensor_format(self, name: str) -> str:
        return "TensorFormat.LINEAR"


class ShapeEngineOfEight(ShapeEngine):
    def get_profile_shape_input(self, index: int, name: str) -> list[list[int]]:
        return [[1, 1], [4, 4], [8, 8]] if index == 0 else [[16, 16], [16, 16], [32, 32]]


class ShapeEngineThatTellsOneValue(ShapeEngine):
    """TensorRT 8.6.0 as it is (seen on an H200): of two values it tells the first."""

    def get_profile_shape_input(self, index: int, name: str) -> list[list[int]]:
        return [[1], [4], [8]] if index == 0 else [[16], [16], [32]]


class ShapeEngineOfTen(ShapeEngine):
    def get_tensor_profile_values(self, index: int, name: str) -> list[list[int]]:
        return ShapeEngineOfEight().get_profile_shape_input(index, name)


@pytest.mark.parametrize("engine", [ShapeEngineOfEight(), ShapeEngineOfTen()])
def test_the_values_that_an_input_may_hold_are_read_from_every_release(engine: Any) -> None:
    x, size = read_tensors(fake_trt(engine), engine)
    assert size.on_host
    assert size.value_ranges == (
        ShapeRange((1, 1), (4, 4), (8, 8)),
        ShapeRange((16, 16), (16, 16), (32, 32)),
    )
    assert x.formats == (), "rows, as everywhere"


def test_the_profile_takes_the_values_too() -> None:
    tensors = read_tensors(fake_trt(None), ShapeEngineOfTen())
    x = np.zeros((2, 4), np.float32)
    for values, profile in (([2, 3], 0), ([16, 32], 1)):
        assert choose_profile(tensors, {"x": x, "size": np.array(values)}) == profile
    with pytest.raises(InvalidSpecError, match="values 9x9 of input 'size' are outside the engine's profile"):
        choose_profile(tensors, {"x": x, "size": np.array([9, 9])})


def test_where_the_engine_tells_of_the_first_value_only_that_one_decides() -> None:
    tensors = read_tensors(fake_trt(None), ShapeEngineThatTellsOneValue())
    x = np.zeros((2, 4), np.float32)
    for values, profile in (([2, 90], 0), ([16, 1], 1)):
        assert choose_profile(tensors, {"x": x, "size": np.array(values)}) == profile
    with pytest.raises(InvalidSpecError, match="values 9x2 of input 'size' are outside"):
        choose_profile(tensors, {"x": x, "size": np.array([9, 2])})


def test_of_several_profiles_the_one_tuned_nearest_is_used() -> None:
    wide, narrow = ShapeRange((1, 4), (64, 4), (64, 4)), ShapeRange((1, 4), (2, 4), (8, 4))
    x = EngineTensor("x", "float32", (-1, 4), is_input=True, ranges=(wide, narrow))
    for rows, profile in ((1, 1), (8, 1), (9, 0), (64, 0)):
        assert choose_profile([x], {"x": np.zeros((rows, 4), np.float32)}) == profile
