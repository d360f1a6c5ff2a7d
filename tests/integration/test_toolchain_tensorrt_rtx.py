"""TensorRT-RTX behind the toolchain protocol: real builds on this CPU, for GPUs that are not here."""

from __future__ import annotations

import ctypes
import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from farm.domain.errors import BuildError, DeviceUnavailableError, InvalidModelError, InvalidSpecError
from farm.domain.option_releases import OPTION_RELEASES
from farm.domain.precisions import PRECISIONS
from farm.domain.shapes import ShapeRange
from farm.domain.targets import DeviceType
from farm.domain.toolchains import ToolchainDescription
from workers.toolchains import load_toolchain
from workers.toolchains.conversion_options import conversion_options
from workers.toolchains.toolchain import BuildInput, BuildOutput

pytest.importorskip("tensorrt_rtx")

PROJECT = Path(__file__).parents[2]
CAPABILITIES = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
PROFILE = {"x": ShapeRange((1, 3, 16, 16), (4, 3, 16, 16), (8, 3, 16, 16))}


@pytest.fixture(scope="module")
def toolchain() -> Any:
    return load_toolchain("tensorrt-rtx")


@pytest.fixture(scope="module")
def description(toolchain: Any) -> ToolchainDescription:
    found: ToolchainDescription = toolchain.describe()
    return found


def convolutions(path: Path, *, product: bool = False, unknown: str = "") -> Path:
    """Two convolutions on `x` Nx3x16x16, then a matrix multiplication if asked for."""
    rng = np.random.default_rng(0)
    weights = {
        "w0": rng.normal(0, 0.3, (16, 3, 3, 3)).astype(np.float32),
        "w1": rng.normal(0, 0.1, (16, 16, 3, 3)).astype(np.float32),
        "wg": rng.normal(0, 0.3, (16, 10)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["c0"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node(unknown or "Relu", ["c0"], ["r0"], name="middle"),
        helper.make_node("Conv", ["r0", "w1"], ["c1"], name="second", pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["c1"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
    ]
    nodes.append(
        helper.make_node("MatMul", ["flat", "wg"], ["y"], name="product")
        if product
        else helper.make_node("Relu", ["flat"], ["y"])
    )
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10 if product else 16])],
        [numpy_helper.from_array(value, name) for name, value in weights.items() if product or name != "wg"],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, str(path))
    return path


def build(toolchain: Any, folder: Path, **more: Any) -> BuildOutput:
    given: dict[str, Any] = {
        "model_path": folder / "net.onnx",
        "engine_path": folder / "engine.plan",
        "precision": "fp32",
        "profiles": (PROFILE,),
        "compute_capability": "8.9",
        **more,
    }
    if not given["model_path"].exists():
        convolutions(given["model_path"])
    output: BuildOutput = toolchain.build(BuildInput(**given), lambda fraction, message: None)
    return output


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_describes_itself_without_a_device(description: ToolchainDescription) -> None:
    assert description.id.name == "tensorrt-rtx"
    assert description.id.variant.startswith("cu")
    assert description.supported_precisions == PRECISIONS[:-1], "all but best"
    assert description.compute_capabilities == CAPABILITIES
    assert not description.needs_device
    assert "`farm tune` finds the fastest" in description.why_not("best")
    assert ToolchainDescription.from_json(description.as_json()) == description


def test_serves_capabilities_only(description: ToolchainDescription) -> None:
    assert description.can_serve(DeviceType.any_of("8.6"))
    assert not description.can_serve(DeviceType.any_of("9.0"))


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_builds_convolutions_for_every_capability(
    toolchain: Any, tmp_path: Path, capability: str, precision: str
) -> None:
    output = build(toolchain, tmp_path, compute_capability=capability, precision=precision)
    plan = (tmp_path / "engine.plan").read_bytes()
    assert plan[:4] == b"vtrt"
    assert len(plan) == output.details["plan_bytes"]
    assert "TF32" in output.precision_note
    assert not output.timing_cache_written


@pytest.mark.parametrize("capability", CAPABILITIES[1:])
def test_multiplies_matrices_from_8_0_on(toolchain: Any, tmp_path: Path, capability: str) -> None:
    model = convolutions(tmp_path / "net.onnx", product=True)
    assert (
        build(toolchain, tmp_path, model_path=model, compute_capability=capability).details["plan_bytes"] > 0
    )


def test_fp32_products_on_turing_are_refused_with_a_way_out(toolchain: Any, tmp_path: Path) -> None:
    model = convolutions(tmp_path / "net.onnx", product=True)
    with pytest.raises(BuildError, match=r"'product'.*FP32 GEMM is not supported") as caught:
        build(toolchain, tmp_path, model_path=model, compute_capability="7.5")
    assert "8.0 or later" in caught.value.hint
    assert not (tmp_path / "engine.plan").exists()


def test_rebuilds_in_fresh_processes_are_byte_identical(tmp_path: Path) -> None:
    # Fresh, as the farm does it: after a refused build for 7.5, TensorRT-RTX 1.7.1 gives other bytes.
    program = (
        "import sys; from pathlib import Path; from workers.toolchains import load_toolchain\n"
        "from workers.toolchains.toolchain import BuildInput; from farm.domain.shapes import ShapeRange\n"
        "model, plan = map(Path, sys.argv[1:])\n"
        "spans = {'x': ShapeRange((1, 3, 16, 16), (4, 3, 16, 16), (8, 3, 16, 16))}\n"
        "request = BuildInput(model, plan, 'fp32', {}, (spans,), '8.9')\n"
        "load_toolchain('tensorrt-rtx').build(request, lambda fraction, message: None)\n"
    )
    model = convolutions(tmp_path / "net.onnx")
    digests = set()
    for index in range(2):
        plan = tmp_path / f"{index}.plan"
        subprocess.run([sys.executable, "-c", program, str(model), str(plan)], cwd=PROJECT, check=True)
        digests.add(digest(plan))
    assert len(digests) == 1


def test_every_option_that_is_offered_changes_something(
    toolchain: Any, tmp_path: Path, description: ToolchainDescription
) -> None:
    build(toolchain, tmp_path)
    plain = digest(tmp_path / "engine.plan")
    of_conversion = {option.name for option in conversion_options()}
    assert {option.name for option in description.options} - of_conversion == {
        name for name, releases in OPTION_RELEASES.items() if not releases.why_not_rtx
    }
    options: tuple[dict[str, Any], ...] = (
        {"profiling_verbosity": "NONE"},
        {"profiling_verbosity": "DETAILED"},
        {"weight_streaming": True},
        # On by default in 1.7.1.
        {"preview_features": ["-RUNTIME_ACTIVATION_RESIZE_10_10"]},
    )
    for chosen in options:
        build(toolchain, tmp_path, builder_config=chosen)
        assert digest(tmp_path / "engine.plan") != plain, chosen
    for pool in ("WORKSPACE", "TACTIC_SHARED_MEMORY"):
        with pytest.raises(BuildError, match="could not build the engine") as caught:
            build(toolchain, tmp_path, builder_config={f"memory_pool_limits.{pool}": 1 << 10})
        assert pool in caught.value.hint


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"builder_optimization_level": 5}, "no builder option 'builder_optimization_level'"),
        ({"profiling_verbosity": "LOUD"}, "profiling_verbosity can not be 'LOUD'"),
        ({"memory_pool_limits.TACTIC_SHARED_MEMORY": 2 << 30}, "must be < 1GiB"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    toolchain: Any, tmp_path: Path, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidSpecError, match=complaint):
        build(toolchain, tmp_path, builder_config=options)


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"profiles": ()}, "'x' is dynamic .* no optimization profile covers it"),
        ({"profiles": ({},)}, "no optimization profile covers it"),
        ({"profiles": ({"z": PROFILE["x"]},)}, "no input 'z'"),
        ({"profiles": ({"x": ShapeRange((1, 3), (1, 3), (1, 3))},)}, "1x3 does not fit input 'x'"),
        ({"compute_capability": "9.0"}, "can not build for compute capability 9.0"),
        ({"compute_capability": ""}, "can not build for compute capability none"),
        ({"precision": "best"}, "best is not supported"),
    ],
)
def test_specs_that_do_not_fit_are_refused(
    toolchain: Any, tmp_path: Path, more: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidSpecError, match=complaint):
        build(toolchain, tmp_path, **more)


@pytest.mark.parametrize("content", [b"hello world" * 20, b"\xff\xfe\x00garbage" * 20, b""])
def test_files_that_are_no_model_are_refused(toolchain: Any, tmp_path: Path, content: bytes) -> None:
    model = tmp_path / "bad.onnx"
    model.write_bytes(content)
    with pytest.raises(InvalidModelError, match=r"TensorRT-RTX 1\.\d"):
        build(toolchain, tmp_path, model_path=model)


def test_an_unknown_operator_names_its_node(toolchain: Any, tmp_path: Path) -> None:
    model = convolutions(tmp_path / "net.onnx", unknown="NoSuchOp")
    with pytest.raises(InvalidModelError, match=r"operator NoSuchOp \(node 'middle'\)") as caught:
        build(toolchain, tmp_path, model_path=model)
    assert "replace it" in caught.value.hint


def test_weights_beside_the_model_are_found_and_missed(toolchain: Any, tmp_path: Path) -> None:
    whole = onnx.load(str(convolutions(tmp_path / "whole.onnx")))
    model = tmp_path / "split" / "net.onnx"
    model.parent.mkdir()
    onnx.save(whole, str(model), save_as_external_data=True, location="weights.bin", size_threshold=0)
    build(toolchain, tmp_path, model_path=model)
    (model.parent / "weights.bin").unlink()
    with pytest.raises(InvalidModelError, match=r"can not open .*weights\.bin"):
        build(toolchain, tmp_path, model_path=model)


def test_a_refusal_does_not_spoil_the_next_build(toolchain: Any, tmp_path: Path) -> None:
    with pytest.raises(BuildError):
        build(toolchain, tmp_path, builder_config={"memory_pool_limits.WORKSPACE": 1 << 10})
    build(toolchain, tmp_path)
    with pytest.raises(InvalidSpecError) as caught:
        build(toolchain, tmp_path, profiles=())
    assert "workspace" not in str(caught.value).lower()


def test_progress_rises_to_the_end(toolchain: Any, tmp_path: Path) -> None:
    told: list[tuple[float | None, str]] = []
    convolutions(tmp_path / "net.onnx")
    request = BuildInput(tmp_path / "net.onnx", tmp_path / "engine.plan", "fp32", {}, (PROFILE,), "8.9")
    toolchain.build(request, lambda fraction, message: told.append((fraction, message)))
    shares = [fraction for fraction, _ in told if fraction is not None]
    assert told[0] == (None, "parsing")
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_an_error_in_the_progress_bar_stops_the_build_and_is_raised(toolchain: Any, tmp_path: Path) -> None:
    convolutions(tmp_path / "net.onnx")
    request = BuildInput(tmp_path / "net.onnx", tmp_path / "engine.plan", "fp32", {}, (PROFILE,), "8.9")

    def broken(fraction: float | None, message: str) -> None:
        if message.startswith(("building", "Building")):
            raise BrokenPipeError("nobody listens")

    with pytest.raises(BrokenPipeError, match="nobody listens"):
        toolchain.build(request, broken)
    assert not (tmp_path / "engine.plan").exists()


def has_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


@pytest.mark.skipif(has_driver(), reason="there is an NVIDIA driver here")
def test_loading_without_a_gpu_says_so(toolchain: Any, tmp_path: Path) -> None:
    build(toolchain, tmp_path)
    with pytest.raises(DeviceUnavailableError, match="no NVIDIA driver"):
        toolchain.load(tmp_path / "engine.plan")


def test_bytes_of_another_kind_are_told_before_a_device_is_looked_for(toolchain: Any, tmp_path: Path) -> None:
    build(toolchain, tmp_path)
    good = (tmp_path / "engine.plan").read_bytes()
    for data, complaint in (
        (b"hello" * 20, "is not an engine of TensorRT-RTX"),
        (b"", "is not an engine of TensorRT-RTX"),
        (b"ftrt" + bytes(20) + bytes([8, 6, 0, 12]), "was built by TensorRT, this is TensorRT-RTX"),
        (good[:24] + bytes([1, 6, 1, 120]) + good[28:], r"was built by TensorRT-RTX 1\.6\.1\.120"),
    ):
        (tmp_path / "other.plan").write_bytes(data)
        with pytest.raises(BuildError, match=complaint):
            toolchain.load(tmp_path / "other.plan")
