"""Networks that a function defines with TensorRT's own API: LeNet of the examples, against numpy."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tensorrt_checks.building import build, loaded, options, refused, spans
from tensorrt_checks.registry import check

if TYPE_CHECKING:
    from types import ModuleType

EXAMPLES = Path(__file__).parents[3] / "examples"
#: Of scores about 1. Rounding weights and activations in numpy gives an error of 1e-3 for TF32 and FP16 alike.
LARGEST_ERROR = {"fp32": 1e-4, "tf32": 1e-2, "fp16": 2e-2}
#: Layers whose weights are computed by the function: freed with its frame, unless the bindings hold them.
TEMPORARIES = """
def build(network, weights, trt):
    data = network.add_input("data", trt.float32, (-1, 1, 28, 28))
    kernel = weights["conv1.weight"] * 2.0 / 2
    layer = network.add_convolution_nd(data, 20, (5, 5), kernel, weights["conv1.bias"] + 0)
    layer.get_output(0).name = "maps"
    network.mark_output(layer.get_output(0))
"""


def example() -> ModuleType:
    """`examples/lenet_weights.py`, imported from its place."""
    spec = importlib.util.spec_from_file_location("lenet_weights", EXAMPLES / "lenet_weights.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def document(folder: Path, source: str, weights: dict[str, Any]) -> Path:
    """The files of a network, as `farm submit SOURCE.py:build` puts them together; that part is not for Python 3.10."""
    import json

    import numpy as np

    from farm.domain.networks import DOCUMENT, NetworkDefinition, parse_tensor

    folder.mkdir()
    (folder / "net.py").write_text(source)
    np.savez(folder / "weights.npz", **weights)
    definition = NetworkDefinition(
        "net.py", "build", "weights.npz", (parse_tensor("data:Nx1x28x28"),), takes_trt=True
    )
    (folder / DOCUMENT).write_text(json.dumps(definition.as_json()))
    return folder / DOCUMENT


def batches() -> Any:
    """A profile for LeNet."""
    return [spans((1, 1, 28, 28), (8, 1, 28, 28), (64, 1, 28, 28), name="data")]


@check
def lenet_of_the_network_api_computes_what_numpy_does(scratch: Path) -> Any:
    """In every precision: each digit gets its label, and the scores are those of numpy."""
    weights, images, labels, wanted = example().lenet()
    source = (EXAMPLES / "lenet_network.py").read_text()
    model = document(scratch / "lenet", source, weights)
    found = {}
    for precision, limit in LARGEST_ERROR.items():
        engine = scratch / f"lenet-{precision}.plan"
        output = build(model, engine, batches(), precision, builder_config=options())
        with loaded(engine) as live:
            names = ([tensor.name for tensor in live.inputs], [tensor.name for tensor in live.outputs])
            assert names == (["data"], ["scores"]), f"the engine has {names}"
            scores = live.infer({"data": images})["scores"]
        assert scores.shape == wanted.shape, f"scores are {scores.shape}, not {wanted.shape}"
        error = float(abs(scores - wanted).max())
        top1 = float((scores.argmax(axis=1) == labels).mean())
        found[precision] = {"max_abs_error": error, "top1": top1, "note": output.precision_note}
        assert error < limit, f"{precision} is off by {error}, at most {limit}: {scores[0]} and {wanted[0]}"
        assert top1 == 1, f"{precision} gets {top1:.1%} of the labels"
    return found


@check
def weights_that_a_function_computes_outlive_it(scratch: Path) -> Any:
    """TensorRT keeps pointers: arrays of the function's own must be held until the engine is built."""
    import numpy as np

    module = example()
    weights, images, _, _ = module.lenet()
    engine = scratch / "temporaries.plan"
    build(
        document(scratch / "temporaries", TEMPORARIES, weights), engine, batches(), builder_config=options()
    )
    with loaded(engine) as live:
        maps = live.infer({"data": images[:8]})["maps"]
    windows = np.lib.stride_tricks.sliding_window_view(images[:8].astype(np.float64), (5, 5), axis=(2, 3))
    wanted = np.einsum(
        "nchwij,ocij->nohw", windows, weights["conv1.weight"].astype(np.float64), optimize=True
    )
    error = float(abs(maps - wanted - weights["conv1.bias"][:, None, None]).max())
    assert error < 1e-4, f"the maps are off by {error}: were the weights freed before the build?"
    return {"max_abs_error": error}


@check
def what_a_function_does_wrong_is_told_with_its_line(scratch: Path) -> Any:
    """The line of the user's file, what TensorRT said of a layer, and what was declared."""
    import numpy as np

    weights = {"kernel": np.zeros((4, 1, 3, 3), np.float32)}
    head = 'def build(network, weights, trt):\n    data = network.add_input("data", trt.float32, (-1, 1, 28, 28))\n'
    said = {}
    for name, lines, fragments in (
        ("raises", '    weights["krenel"]\n', ("net.py:3 in build: KeyError",)),
        (
            "layer",
            '    network.add_convolution_nd(data, 4, (3, 3, 3, 3), weights["kernel"]).get_output(0)\n',
            ("net.py:3 in build: AttributeError", "TensorRT"),
        ),
        ("outputs", "", ("net.py:build marks no output",)),
    ):
        model = document(scratch / name, head + lines, weights)
        with refused("InvalidModelError", *fragments) as found:
            build(model, scratch / f"{name}.plan", batches(), builder_config=options())
        said[name] = found[0]
    other = (
        head.replace("data", "image") + "    network.mark_output(network.add_identity(image).get_output(0))\n"
    )
    with refused("InvalidModelError", "'image' that was not declared") as found:
        build(document(scratch / "declared", other, weights), scratch / "declared.plan", batches())
    said["declared"] = found[0]
    return said
