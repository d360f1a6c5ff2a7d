"""TensorRT-RTX builds networks that functions define; what functions do wrong is told with their line."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farm.domain.errors import InvalidModelError
from farm.domain.shapes import ShapeRange
from tests.integration.network_models.sources import SOURCE, write_document
from workers.toolchains import load_toolchain
from workers.toolchains.toolchain import BuildInput, BuildOutput

pytest.importorskip("tensorrt_rtx")

PROFILE = {"data": ShapeRange((1, 3, 8, 8), (4, 3, 8, 8), (8, 3, 8, 8))}
#: Everything but what a function is about.
AROUND = """
INPUTS = {{"data": ("N", 3, 8, 8)}}

def build(network, weights, trt):
    data = network.add_input("data", trt.float32, (-1, 3, 8, 8))
{body}
"""


def build(document: Path, **changes: Any) -> tuple[BuildOutput, bytes]:
    engine = document.parent / "engine"
    given: dict[str, Any] = {
        "precision": "fp32",
        "profiles": (PROFILE,),
        "compute_capability": "8.9",
        **changes,
    }
    output = load_toolchain("tensorrt-rtx").build(
        BuildInput(document, engine, **given), lambda fraction, message: None
    )
    return output, engine.read_bytes()


def body(*lines: str) -> str:
    return AROUND.format(body="\n".join(f"    {line}" for line in lines))


def refusal(folder: Path, source: str, **changes: Any) -> InvalidModelError:
    with pytest.raises(InvalidModelError) as refused:
        build(write_document(folder, source, **changes))
    return refused.value


def test_a_network_becomes_an_engine(tmp_path: Path) -> None:
    output, plan = build(write_document(tmp_path, outputs=("scores:Nx4x6x6",)))
    assert plan[:4] == b"vtrt"
    assert output.details["network_layers"] == 1


def test_the_same_network_becomes_the_same_bytes(tmp_path: Path) -> None:
    plans = {hashlib.sha256(build(write_document(tmp_path))[1]).hexdigest() for _ in range(2)}
    assert len(plans) == 1


def test_a_function_may_import_the_module_itself(tmp_path: Path) -> None:
    source = SOURCE.replace(
        "def build(network, weights, trt)", "import tensorrt_rtx as trt\n\ndef build(network, weights)"
    )
    _, plan = build(write_document(tmp_path, source))
    assert plan == build(write_document(tmp_path))[1]


def test_weights_that_the_function_computes_outlive_it(tmp_path: Path) -> None:
    scaled = SOURCE.replace('weights["kernel"]', 'weights["kernel"] * 2.0 / 2').replace(
        'weights["bias"]', 'weights["bias"].copy()'
    )
    # TensorRT holds bare pointers: what is freed with the function's frame is written over by the time it builds.
    overwritten = (
        "\n    import numpy\n    _churn = [numpy.full((4, 3, 3, 3), 7, numpy.float32) for _ in range(2000)]\n"
    )
    plans = {
        build(write_document(tmp_path, text))[1] for text in (SOURCE, scaled, scaled.rstrip() + overwritten)
    }
    assert len(plans) == 1


def test_layers_in_half_precision_make_a_typed_network(tmp_path: Path) -> None:
    source = body(
        "half = network.add_cast(data, trt.float16).get_output(0)",
        'kernel, bias = weights["kernel"].astype("float16"), weights["bias"].astype("float16")',
        "layer = network.add_convolution_nd(half, 4, (3, 3), kernel, bias)",
        "network.mark_output(layer.get_output(0))",
    )
    assert build(write_document(tmp_path, source))[1] != build(write_document(tmp_path))[1]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('raise ValueError("no good")', r"net\.py:6 in build: ValueError: no good"),
        ('weights["krenel"]', r"net\.py:6 in build: KeyError: 'krenel'"),
        ("network.add_no_such_layer(data)", r"net\.py:6 in build: AttributeError"),
        ("import no_such_package", r"net\.py:6 in build: ModuleNotFoundError"),
        ("raise SystemExit(0)", r"net\.py:6 in build: SystemExit"),
        (
            'network.add_input("more", None, (1,))',
            r"net\.py:6 in build: TypeError: add_input\(\): incompatible",
        ),
    ],
)
def test_an_error_of_the_function_is_told_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    assert re.search(said, refusal(tmp_path, body(line)).message)


def test_the_line_is_the_users_own_where_another_file_raised(tmp_path: Path) -> None:
    source = body("import json", "json.loads('{')")
    assert refusal(tmp_path, source).message.startswith("net.py:7 in build: JSONDecodeError")


def test_an_error_at_the_top_of_the_file_is_told_with_its_line(tmp_path: Path) -> None:
    assert "net.py:10 in <module>: ZeroDivisionError" in refusal(tmp_path, SOURCE + "\nBAD = 1 / 0\n").message


def test_what_tensorrt_said_of_a_refused_layer_is_told(tmp_path: Path) -> None:
    source = body(
        'layer = network.add_convolution_nd(data, 4, (3, 3, 3, 3), weights["kernel"])', "layer.get_output(0)"
    )
    error = refusal(tmp_path, source)
    assert "net.py:7 in build: AttributeError: 'NoneType'" in error.message
    assert "nbDims" in error.message
    assert "cudaError" not in error.message, "that there is no GPU is not what is wrong"
    assert "None for a layer" in error.hint


def test_a_refused_layer_that_nobody_looks_at_is_told_too(tmp_path: Path) -> None:
    source = body(
        'network.add_convolution_nd(data, 4, (3, 3, 3, 3), weights["kernel"])',
        "network.mark_output(network.add_identity(data).get_output(0))",
    )
    assert "nbDims" in refusal(tmp_path, source).message


def test_a_network_without_outputs_is_refused(tmp_path: Path) -> None:
    error = refusal(tmp_path, body("pass"))
    assert "net.py:build marks no output" in error.message
    assert "mark_output" in error.hint


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"inputs": ("image:Nx3x8x8",)}, "an input 'data' that was not declared"),
        ({"inputs": ("data:Nx3x8x8", "mask:Nx8")}, "no input 'mask', which was declared"),
        (
            {"inputs": ("data:4x3x8x8",)},
            "makes input data float32 ?x3x8x8, and data float32 4x3x8x8 was declared",
        ),
        ({"inputs": ("data:fp16:Nx3x8x8",)}, "and data float16 Nx3x8x8 was declared"),
        ({"outputs": ("probabilities:Nx4x6x6",)}, "an output 'scores' that was not declared"),
        ({"outputs": ("scores:Nx5x6x6",)}, "and scores float32 Nx5x6x6 was declared"),
    ],
)
def test_what_is_made_must_be_what_was_declared(tmp_path: Path, declared: dict[str, Any], said: str) -> None:
    assert said in refusal(tmp_path, SOURCE, **declared).message


def test_a_network_without_weights_needs_no_file(tmp_path: Path) -> None:
    from farm.storage.network_files import write_network

    (tmp_path / "net.py").write_text(body("network.mark_output(network.add_identity(data).get_output(0))"))
    (tmp_path / "staged").mkdir()
    _, plan = build(write_network(tmp_path / "staged", tmp_path / "net.py", "build", None, [], []))
    assert plan[:4] == b"vtrt"


def test_lenet_of_the_examples_is_built(tmp_path: Path) -> None:
    folder = Path(__file__).parents[3] / "examples"
    loaded: dict[str, Any] = {"__name__": "lenet_weights", "__file__": str(folder / "lenet_weights.py")}
    exec(compile((folder / "lenet_weights.py").read_text(), "lenet_weights.py", "exec"), loaded)  # noqa: S102 - our own
    weights, _, labels, scores = loaded["lenet"]()
    assert (scores.argmax(axis=1) == labels).all()
    np.savez(tmp_path / "lenet.npz", **weights)
    document = write_document(
        tmp_path, (folder / "lenet_network.py").read_text(), weights=tmp_path / "lenet.npz"
    )
    span = ShapeRange((1, 1, 28, 28), (8, 1, 28, 28), (8, 1, 28, 28))
    output, plan = build(document, profiles=({"data": span},))
    assert output.details["network_layers"] == 8
    assert len(plan) > sum(array.nbytes for array in weights.values())
