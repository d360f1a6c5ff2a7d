"""Which layers hurt: every tensor of a model against its conversion, in a child of the farm's own interpreter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto, checker, helper, numpy_helper, save

from farm.domain.conversion import Conversion
from farm.domain.errors import BuildError, InvalidSpecError
from farm.settings import read_settings
from workers.conversion.request import ConversionRequest
from workers.conversion.sensitivity import SensitivityRequest
from workers.layer_ranking import rank_layers
from workers.toolchains.toolchain import CalibrationInput

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WIDTH = 32


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Three matrix products, the second with weights of which some are a thousand times as large as the others."""
    rng = np.random.default_rng(0)
    good, last = (rng.normal(0, 0.2, (WIDTH, WIDTH)).astype(np.float32) for _ in range(2))
    bad = rng.normal(0, 0.2, (WIDTH, WIDTH)).astype(np.float32)
    # They count for the scale alone: what they are multiplied with is always zero.
    bad[0] *= 1000
    good[:, 0] = 0
    return write(tmp_path / "model.onnx", {"first": good, "second": bad, "third": last})


def write(path: Path, weights: dict[str, Any], *, named: bool = True) -> Path:
    """A chain of matrix products, a Relu behind each."""
    nodes, value = [], "x"
    for name in weights:
        called = {"name": name} if named else {}
        nodes.append(helper.make_node("MatMul", [value, f"w_{name}"], [f"{name}_out"], **called))
        nodes.append(helper.make_node("Relu", [f"{name}_out"], [f"{name}_relu"], name=f"relu_{name}"))
        value = f"{name}_relu"
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, WIDTH])],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, [4, WIDTH])],
        [numpy_helper.from_array(array, f"w_{name}") for name, array in weights.items()],
    )
    made = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    checker.check_model(made)
    save(made, path)
    return path


def asked(model: Path, conversion: Conversion, **changes: Any) -> Callable[[Path], SensitivityRequest]:
    """A request with random samples and inputs."""
    samples = CalibrationInput("MINMAX_CALIBRATION", batch=4, samples=16, seed=1)

    def compose(folder: Path) -> SensitivityRequest:
        wanted = ConversionRequest(
            model, folder / "converted.onnx", conversion, {}, samples if conversion.quantized else None
        )
        return SensitivityRequest(wanted, None, {"x": (4, WIDTH)}, seed=2)._replace(**changes)

    return compose


def ranked(tmp_path: Path, request: Callable[[Path], SensitivityRequest]) -> list[dict[str, Any]]:
    return rank_layers(read_settings(tmp_path / "home", {}), request, lambda _message: None)


def test_the_layer_that_int8_suits_least_comes_first(model: Path, tmp_path: Path) -> None:
    layers = ranked(tmp_path, asked(model, Conversion(quantized="int8")))
    assert layers[0]["nodes"][0] == "second"
    assert layers[0]["jump"] > 3 * layers[1]["jump"]
    assert [layer["jump"] for layer in layers] == sorted((layer["jump"] for layer in layers), reverse=True)


def test_what_a_layer_adds_is_told_apart_from_what_came_in(model: Path, tmp_path: Path) -> None:
    layers = ranked(tmp_path, asked(model, Conversion(quantized="int8")))
    third = next(layer for layer in layers if "third" in layer["nodes"])
    # What it gets is bad already; by itself it is as good as the first.
    assert third["relative_error"] > 2 * third["jump"]


def test_layers_that_the_cpus_quantizer_takes_together_are_one(model: Path, tmp_path: Path) -> None:
    layers = ranked(tmp_path, asked(model, Conversion(quantized="int8", for_cpu=True)))
    assert sorted(name for layer in layers for name in layer["nodes"]) == sorted(
        f"{kind}{name}" for name in ("first", "second", "third") for kind in ("", "relu_")
    )
    assert any(len(layer["nodes"]) == 2 for layer in layers)


def test_fp16_loses_what_sixteen_bits_can_not_hold(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = {
        "small": rng.normal(0, 0.2, (WIDTH, WIDTH)).astype(np.float32),
        "tiny": (rng.normal(0, 1e-7, (WIDTH, WIDTH))).astype(np.float32),
    }
    layers = ranked(tmp_path, asked(write(tmp_path / "m.onnx", weights), Conversion(half="fp16")))
    assert layers[0]["nodes"] == ["tiny"]
    assert layers[0]["snr_db"] < 30 < next(e["snr_db"] for e in layers if e["nodes"] == ["small"])


def test_a_node_without_a_name_is_given_one_and_told_apart(tmp_path: Path) -> None:
    weights = {"a": np.eye(WIDTH, dtype=np.float32) / 3}
    layers = ranked(
        tmp_path, asked(write(tmp_path / "m.onnx", weights, named=False), Conversion(half="fp16"))
    )
    assert {(*layer["nodes"], layer["have_own_names"]) for layer in layers} == {
        ("MatMul_0", False),
        ("relu_a", True),
    }


def test_inputs_that_are_given_are_compared_on(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "inputs.npz"
    np.savez(path, x=np.zeros((8, WIDTH), dtype=np.float32))
    layers = ranked(tmp_path, asked(model, Conversion(half="fp16"), inputs_path=path))
    assert {layer["relative_error"] for layer in layers} == {0.0}


def test_inputs_that_do_not_fit_are_refused(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "inputs.npz"
    np.savez(path, y=np.zeros((4, WIDTH), dtype=np.float32))
    with pytest.raises(InvalidSpecError, match="'y'"):
        ranked(tmp_path, asked(model, Conversion(half="fp16"), inputs_path=path))


def test_a_model_that_can_not_be_converted_says_why(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"], name="relu")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, WIDTH])],
    )
    path = tmp_path / "relu.onnx"
    save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), path)
    with pytest.raises(BuildError, match="INT8"):
        ranked(tmp_path, asked(path, Conversion(quantized="int8")))


def test_what_nothing_here_can_run_is_not_compared(model: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="no such kernels on a CPU"):
        ranked(tmp_path, asked(model, Conversion(half="bf16")))
