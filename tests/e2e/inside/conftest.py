"""A farm that holds one model in two engines, for tests that look inside."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.e2e import models
from tests.e2e.driver import FarmCommand, fast_spec

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def two_engines_home(tmp_path_factory: pytest.TempPathFactory) -> FarmCommand:
    """`dense` as the optimizer makes it (engine 1), and as it is (engine 2), on the CPU."""
    farm = FarmCommand(tmp_path_factory.mktemp("two"))
    path = models.save(models.dense(), farm.folder / "dense.onnx")
    words = ("submit", path, "--spec", fast_spec(farm.folder), "--gpu", "cpu", "--batch", "1,4", "--local")
    farm.run(*words)
    farm.run(*words, "--set", "graph_optimization_level=DISABLE_ALL")
    return farm


@pytest.fixture
def two_engines(tmp_path: Path, two_engines_home: FarmCommand) -> FarmCommand:
    """The same in a folder of the test's own."""
    shutil.copytree(two_engines_home.home, tmp_path / "home", symlinks=True)
    return FarmCommand(tmp_path)
