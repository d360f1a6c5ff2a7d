"""Exports of the models in `tests/torch_nets.py`, by the real PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.pytorch import pytorch
from workers.export.inputs import parse_dynamic, parse_input
from workers.export.pipeline import export
from workers.export.request import ExportRequest
from workers.export.sources import parse_source

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workers.export.request import Exported

NETS = Path(__file__).parents[2] / "torch_nets.py"


@pytest.fixture(scope="session")
def torch() -> Any:
    """PyTorch, where it is installed."""
    return pytorch()


@pytest.fixture
def exported(torch: Any, tmp_path: Path) -> Callable[..., Exported]:
    """Exports a model by its name in the module, or by the path of its file."""

    def run(name: str | Path, *inputs: str, dynamic: Sequence[str] = (), **wishes: Any) -> Exported:
        source = parse_source(str(name) if isinstance(name, Path) else f"{NETS}:{name}")
        assert source is not None
        request = ExportRequest(
            source=source,
            path=tmp_path / "model.onnx",
            inputs=tuple(map(parse_input, inputs)),
            dynamic=tuple(map(parse_dynamic, dynamic)),
            **wishes,
        )
        return export(request)

    return run
