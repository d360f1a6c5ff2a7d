"""A worker hands files on; it never holds a model or an engine."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.fake_toolchain.harness import farm_of_test, write_model
from workers.interpreters import probe_interpreter

SIZE = 300 << 20


@pytest.mark.slow
def test_a_worker_stays_small_while_it_handles_a_large_model_and_engine(tmp_path: Path) -> None:
    own = probe_interpreter(Path(sys.executable), tmp_path / "probe")
    with farm_of_test(tmp_path, own) as place:
        weights = np.zeros((4, SIZE // 16), np.float32)
        model = write_model(tmp_path / "large" / "model.onnx", weights=weights)
        with place.worker_process() as worker:
            (job_id,) = place.submit(model=model)
            place.ended(job_id, seconds=120)
            place.succeeded(job_id)
            worker.stop()
            # Of this process alone: `ru_maxrss` would count what the process was that started it.
            peak = re.search(r"peak (\d+) KiB", worker.said())
        assert peak is not None
        assert place.engine(job_id).digest.size_bytes >= SIZE
        assert int(peak[1]) < 150 << 10, f"{int(peak[1]) >> 10} MiB"
