"""Where Torch-TensorRT is missing, broken or too old, that is one line; PyTorch is not imported for nothing."""

from __future__ import annotations

import sys
import textwrap
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from workers.installed import installed_toolchains
from workers.toolchains import MODULES, load_toolchain
from workers.toolchains.torch_tensorrt import toolchain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGE = """
from types import SimpleNamespace
__version__ = "{version}"
def _compile(exported_program, *, arg_inputs=None, min_block_size=5): ...
dynamo = SimpleNamespace(compile=_compile)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Writes a package `torch_tensorrt` that this interpreter finds, beside a PyTorch that is none."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(__version__="2.11.0+cu130"))
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__="10.15.1"))

    def write(text: str) -> None:
        folder = tmp_path / "torch_tensorrt"
        folder.mkdir()
        (folder / "__init__.py").write_text(textwrap.dedent(text))

    yield write
    sys.modules.pop("torch_tensorrt", None)


@pytest.mark.skipif(
    "torch-tensorrt" in {found.name for found in installed_toolchains()}, reason="it is installed here"
)
def test_a_missing_package_costs_no_import_of_pytorch() -> None:
    before = "torch" in sys.modules
    with pytest.raises(ModuleNotFoundError, match="No module named 'torch_tensorrt'"):
        toolchain()
    assert ("torch" in sys.modules) is before


def test_a_package_that_does_not_load_says_why_in_one_line(package: Any) -> None:
    # As 2.13 does where TensorRT's libraries are not to be found: it raises no ImportError.
    package("raise Exception('import error: Could not find libnvinfer.so.11\\n  Search paths: []')")
    with pytest.raises(
        ImportError, match=r"does not load: import error: Could not find libnvinfer\.so\.11 Search"
    ):
        toolchain()


def test_an_old_release_is_refused_as_such(package: Any) -> None:
    package(PACKAGE.format(version="2.8.0"))
    with pytest.raises(ImportError, match=r"2\.8\.0 is too old: 2\.11"):
        toolchain()


def test_a_release_describes_itself_without_a_device(package: Any) -> None:
    package(PACKAGE.format(version="2.11.0+cu130"))
    description = load_toolchain("torch-tensorrt").describe()
    assert description.id.slug == "torch-tensorrt-2.11.0-torch2.11.0-trt10.15.1"
    assert [option.name for option in description.options] == ["min_block_size"]


def test_it_is_probed_last_since_it_takes_the_place_of_tensorrt() -> None:
    assert list(MODULES)[-1] == "torch-tensorrt"
