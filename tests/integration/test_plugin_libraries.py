"""Plugin libraries: loaded before the model is parsed, and refused in the words of whoever would not take them."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.libraries import EMPTY, HARMLESS, NEEDS_COMPILER, UNRESOLVED, library
from workers.toolchains.trt_plugins import names_standard_plugins

pytest.importorskip("tensorrt_rtx")

ROOT = Path(__file__).parents[2]
#: Builds with plugins, and says what became of it and which files of the plugins are mapped at the end.
PROGRAM = """
import json, sys
from pathlib import Path
from farm.domain.errors import FarmError
from workers.toolchains import load_toolchain
from workers.toolchains.toolchain import BuildInput
model, *plugins = map(Path, sys.argv[1:])
toolchain, said = load_toolchain("tensorrt-rtx"), ""
try:
    request = BuildInput(model, model.with_suffix(".plan"), "fp32", compute_capability="8.9",
                         plugin_paths=tuple(plugins))
    toolchain.build(request, lambda fraction, message: None)
    toolchain.load_plugins(tuple(plugins), model.with_suffix(".plan"))
except FarmError as error:
    said = f"{type(error).__name__}: {error.message}"
maps = Path("/proc/self/maps").read_text()
print(json.dumps({"said": said, "mapped": [str(plugin) in maps for plugin in plugins]}))
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A static one."""
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])],
    )
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), str(path))
    return path


def built(*words: Path) -> dict[str, object]:
    """What the program says, in a process of its own: a library is never unloaded."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


@NEEDS_COMPILER
def test_a_library_is_loaded_once_and_stays(tmp_path: Path, model: Path) -> None:
    plugins = [library(tmp_path / f"{name}.so", HARMLESS + f"\nint {name};") for name in ("one", "two")]
    assert built(model, *plugins) == {"said": "", "mapped": [True, True]}


@NEEDS_COMPILER
def test_a_library_that_does_not_load_is_refused_in_the_loaders_words(tmp_path: Path, model: Path) -> None:
    plugin = library(tmp_path / "bad.so", UNRESOLVED)
    found = built(model, plugin)
    assert found["said"] == (
        "InvalidSpecError: plugin library bad.so does not load: undefined symbol: nowhere_to_be_found"
    )
    assert found["mapped"] == [False]
    with pytest.raises(OSError, match="nowhere_to_be_found"):
        ctypes.CDLL(str(plugin))


def test_what_is_no_library_is_refused_too(tmp_path: Path, model: Path) -> None:
    plugin = tmp_path / "text.so"
    plugin.write_bytes(b"\x7fELF and then nothing that a loader could read")
    assert "InvalidSpecError: plugin library text.so does not load: " in str(built(model, plugin)["said"])


@NEEDS_COMPILER
def test_a_library_that_tensorrt_does_not_take_is_refused_in_tensorrts_words(
    tmp_path: Path, model: Path
) -> None:
    said = str(built(model, library(tmp_path / "empty.so", EMPTY))["said"])
    assert "refuses plugin library empty.so" in said
    assert "No creator returned by getPluginCreators" in said


def test_nvidias_own_plugins_are_known_by_their_names(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    for content, uses in ((b"", False), (b"Conv Relu", False), (b"a EfficientNMS_TRT node", True)):
        path.write_bytes(content)
        assert names_standard_plugins(path) is uses
    np.save(tmp_path / "large.npy", np.zeros(1 << 16))
    assert not names_standard_plugins(tmp_path / "large.npy")
