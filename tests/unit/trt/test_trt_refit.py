"""Replacing an engine's weights, as TensorRT 8.6 and 10 have it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from farm.domain.errors import BuildError
from tests.unit.trt.surface import log_for, surface
from workers.toolchains.toolchain import REFIT_WEIGHTS, BuildInput
from workers.toolchains.trt_refit import refit_engine

if TYPE_CHECKING:
    from pathlib import Path


class Plan(bytes):
    @property
    def nbytes(self) -> int:
        return len(self)


class Engine:
    """An engine with the weights of a small net."""

    num_layers = 3
    device_memory_size = 4096

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.weights: dict[str, Any] = {"conv.w": None, "conv.b": None}
        self.is_refitted = False

    def serialize(self) -> Plan:
        assert self.is_refitted
        return Plan(b"refitted " + self.data)


class Refitter:
    """`trt.Refitter`: takes arrays of the right size, by name."""

    missing: tuple[str, ...] = ()
    refuses = False

    def __init__(self, engine: Engine, _logger: Any) -> None:
        self.engine = engine

    def get_all_weights(self) -> list[str]:
        return list(self.engine.weights)

    def get_missing_weights(self) -> list[str]:
        return list(self.missing)

    def set_named_weights(self, name: str, array: Any) -> bool:
        if array.size != 4:
            return False
        self.engine.weights[name] = array
        return True

    def refit_cuda_engine(self) -> bool:
        self.engine.is_refitted = not self.refuses
        return not self.refuses


class ParserRefitter:
    """`trt.OnnxParserRefitter`, from 10.0 on."""

    num_errors = 1
    takes = True

    def __init__(self, refitter: Refitter, _logger: Any) -> None:
        self._refitter = refitter

    def refit_from_file(self, path: str) -> bool:
        self._refitter.engine.weights["from"] = path
        return self.takes

    def get_error(self, _at: int) -> Any:
        return SimpleNamespace(desc=lambda: "no initializer 'conv.b'")


def module(version: str, **changes: Any) -> Any:
    """A module that loads and refits."""
    trt = surface(version)
    engines: list[Engine] = []

    def deserialize(data: bytes) -> Engine | None:
        engines.append(Engine(data))
        return engines[-1]

    trt.Runtime = lambda _logger: SimpleNamespace(deserialize_cuda_engine=deserialize)
    trt.Refitter = type("Refitter", (Refitter,), changes)
    if version.startswith("10"):
        trt.OnnxParserRefitter = type("OnnxParserRefitter", (ParserRefitter,), changes)
    trt.engines = engines
    return trt


@pytest.fixture
def request_(tmp_path: Path) -> BuildInput:
    """A refit with all weights in place."""
    folder = tmp_path / "refit"
    folder.mkdir()
    (folder / "engine").write_bytes(b"old")
    weights(folder, ["conv.w", "conv.b", "more"])
    return BuildInput(tmp_path / "model.onnx", tmp_path / "engine", "fp16", refit_path=folder / "engine")


def weights(folder: Path, names: list[str], size: int = 4) -> None:
    arrays: dict[str, Any] = {name: np.full(size, 1.5, dtype=np.float32) for name in names}
    np.savez(folder / REFIT_WEIGHTS, **arrays)


def run(trt: Any, build: BuildInput) -> Any:
    return refit_engine(trt, log_for(trt), build, lambda _fraction, _message: None)


def test_the_weights_are_set_by_their_names_up_to_8(request_: BuildInput) -> None:
    trt = module("8.6.0")
    output = run(trt, request_)
    assert request_.engine_path.read_bytes() == b"refitted old"
    assert output.precision_note == "2 weights replaced by their names"
    assert output.details["refitted_weights"] == 2
    assert (output.layers, output.device_memory_bytes) == (3, 4096)
    assert [array[0] for array in trt.engines[0].weights.values()] == [1.5, 1.5]


def test_from_10_on_the_parser_sets_them(request_: BuildInput) -> None:
    trt = module("10.16.1")
    assert run(trt, request_).precision_note == "2 weights replaced by OnnxParserRefitter"
    assert trt.engines[0].weights["from"] == str(request_.model_path)


def test_what_the_parser_says_of_a_refusal_is_told(request_: BuildInput) -> None:
    with pytest.raises(BuildError, match=r"can not refit the engine: no initializer 'conv\.b'"):
        run(module("10.16.1", takes=False), request_)


def test_weights_that_nothing_is_named_after_refuse_the_refit(request_: BuildInput) -> None:
    assert request_.refit_path is not None
    weights(request_.refit_path.parent, ["conv.w"])
    with pytest.raises(BuildError, match=r"no weights of 1 of the engine's 2 names: 'conv\.b'") as refused:
        run(module("8.6.0"), request_)
    assert "full build" in refused.value.hint
    assert not request_.engine_path.exists()


def test_weights_of_another_size_refuse_the_refit(request_: BuildInput) -> None:
    assert request_.refit_path is not None
    weights(request_.refit_path.parent, ["conv.w", "conv.b"], size=5)
    with pytest.raises(BuildError, match=r"does not take weights 'conv\.w' \(float32 x 5\)"):
        run(module("8.6.0"), request_)


def test_weights_that_the_builder_made_of_others_refuse_the_refit(request_: BuildInput) -> None:
    with pytest.raises(BuildError, match="wants 1 more weights: 'fused'"):
        run(module("8.6.0", missing=("fused",)), request_)


def test_an_engine_without_the_option_has_nothing_to_replace(request_: BuildInput) -> None:
    with pytest.raises(BuildError, match="no weights that can be replaced") as refused:
        run(module("8.6.0", get_all_weights=lambda _self: []), request_)
    assert "--set refit=true" in refused.value.hint


def test_an_engine_that_no_refitter_takes_has_nothing_to_replace(request_: BuildInput) -> None:
    trt = module("8.6.0")

    def refuse(_engine: Any, _logger: Any) -> Any:
        raise TypeError("pybind11::init(): factory function returned nullptr")

    trt.Refitter = refuse
    with pytest.raises(BuildError, match="no weights that can be replaced"):
        run(trt, request_)


def test_what_tensorrt_will_not_do_writes_no_engine(request_: BuildInput) -> None:
    with pytest.raises(BuildError, match="could not replace the engine's weights"):
        run(module("8.6.0", refuses=True), request_)
    assert not request_.engine_path.exists()
