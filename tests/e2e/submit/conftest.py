"""Models to submit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e import models
from tests.e2e.submit.submissions import seed

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def dense(tmp_path: Path) -> Path:
    """A small model, of its own for every test so that tests share no engine."""
    return models.save(models.dense(seed(tmp_path), batch=1), tmp_path / "dense.onnx")


@pytest.fixture
def dynamic(tmp_path: Path) -> Path:
    """The same with a dynamic batch."""
    return models.save(models.dense(seed(tmp_path)), tmp_path / "dynamic.onnx")
