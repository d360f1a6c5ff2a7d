"""A small PyTorch model, kept for baselines by a real export."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.pytorch import pytorch
from workers.export.inputs import parse_dynamic, parse_input
from workers.export.pipeline import export
from workers.export.request import ExportRequest
from workers.export.sources import parse_source

if TYPE_CHECKING:
    from collections.abc import Callable

NETS = Path(__file__).parents[2] / "torch_nets.py"


@pytest.fixture(scope="session")
def torch() -> Any:
    """PyTorch, where it is installed."""
    return pytorch()


def keep(folder: Path, name: str | Path, *inputs: str, file: str = "program.pt2", **wishes: Any) -> Path:
    """Exports a model by its name in the module, or by the path of its file; the file that its baselines run."""
    source = parse_source(str(name) if isinstance(name, Path) else f"{NETS}:{name}")
    assert source is not None
    dynamic = tuple(map(parse_dynamic, wishes.pop("dynamic", ())))
    path = folder / file
    parsed = tuple(map(parse_input, inputs))
    export(
        ExportRequest(
            source, folder / "model.onnx", inputs=parsed, dynamic=dynamic, program_path=path, **wishes
        )
    )
    return path


@pytest.fixture
def kept(torch: Any, tmp_path: Path) -> Callable[..., Path]:
    """Exports into a folder of the test's own."""
    return partial(keep, tmp_path)


@pytest.fixture(scope="session")
def kept_resnet(torch: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small ResNet, its batch dynamic, and its ONNX file."""
    return keep(tmp_path_factory.mktemp("resnet"), "resnet", "1x3x32x32", dynamic=["batch"]).parent


@pytest.fixture
def resnet(kept_resnet: Path, tmp_path: Path) -> Path:
    """The program of the ResNet, with its ONNX file beside it."""
    shutil.copytree(kept_resnet, tmp_path / "resnet")
    return tmp_path / "resnet" / "program.pt2"
