"""Where TensorRT lives on this GPU host, and a farm to use it with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def tensorrt_python() -> Path:
    """The interpreter with TensorRT: FARM_TEST_TENSORRT_PYTHON, or the first one on PATH that has it."""
    named = os.environ.get("FARM_TEST_TENSORRT_PYTHON")
    candidates = (
        [named] if named else [shutil.which(name) for name in ("python", "python3")] + [sys.executable]
    )
    for candidate in filter(None, candidates):
        done = subprocess.run(
            [candidate, "-c", "import tensorrt, pycuda.driver as d; d.init(); d.Device(0)"],
            env={**os.environ, "PYTHONPATH": ""},
            capture_output=True,
            check=False,
        )
        if done.returncode == 0:
            return Path(candidate)
    pytest.skip("no Python with TensorRT, PyCUDA and a GPU; FARM_TEST_TENSORRT_PYTHON names one")
