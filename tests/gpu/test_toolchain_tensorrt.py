"""TensorRT on a real GPU, driven in TensorRT's own interpreter (see drive_tensorrt.py)."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = Path(__file__).with_name("drive_tensorrt.py")
PROJECT = DRIVER.parents[2]
#: The longest check builds three engines with TensorRT's default effort.
LIMIT_S = 300

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(LIMIT_S + 30)]


def names() -> list[str]:
    """The driver's checks, without running any."""
    # As for the driver, whose folder is the first on its path.
    sys.path.insert(0, str(DRIVER.parent))
    try:
        return list(importlib.import_module("tensorrt_checks").CHECKS)
    finally:
        sys.path.remove(str(DRIVER.parent))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all checks, so that an engine that several use is built once."""
    return tmp_path_factory.mktemp("tensorrt")


@pytest.mark.parametrize("name", names())
def test_on_the_gpu(name: str, scratch: Path, tensorrt_python: Path) -> None:
    done = subprocess.run(
        [str(tensorrt_python), str(DRIVER), "--check", name, "--scratch", str(scratch)],
        cwd=PROJECT,
        # Not the farm's own PYTHONPATH: its packages are for another Python.
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    told = lines[-1] if lines else {"status": "no answer", "detail": done.stdout}
    log = "\n".join(done.stderr.splitlines()[-60:])
    assert told["status"] == "PASS", f"{told['detail']}\n{log}"
    assert done.returncode == 0, f"exit status {done.returncode} after it passed\n{log}"
