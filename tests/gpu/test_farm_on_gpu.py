"""The farm itself on a GPU host: its worker in this Python, TensorRT in an interpreter of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.gpu.conftest import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]
#: Tactics of libraries that a GPU host may lack; builds stay quick at the lowest optimization level.
OPTIONS = ["--set", "tactic_sources=-CUBLAS,-CUBLAS_LT,-CUDNN", "--set", "builder_optimization_level=1"]
RUN_ENGINE = """
import sys, numpy as np
from pathlib import Path
from workers.toolchains import load_toolchain
engine = load_toolchain("tensorrt").load(Path(sys.argv[1]))
with np.load(sys.argv[2]) as data:
    scores = engine.infer({"image": data["image"][:32]})["scores"]
    print(float((scores.argmax(axis=1) == data["labels"][:32]).mean()))
engine.close()
"""


class GpuFarm:
    """An embedded farm in a folder, driven through its command line."""

    def __init__(self, home: Path) -> None:
        self.environment = {**os.environ, "FARM_HOME": str(home)}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cli.main", *words],
            cwd=PROJECT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )

    def json(self, *words: str) -> Any:
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory, tensorrt_python: Path) -> Any:
    """A farm with a worker for the GPU, and the digits model built in FP32 and FP16."""
    found = GpuFarm(tmp_path_factory.mktemp("farm"))
    command = [sys.executable, "-m", "cli.main", "up", "--device", "gpu"]
    with (tmp_path_factory.mktemp("log") / "up.log").open("w") as log:
        worker = subprocess.Popen(
            [*command, "--toolchain-python", str(tensorrt_python)],
            cwd=PROJECT,
            env=found.environment,
            stdout=log,
            stderr=log,
        )
    try:
        while not (
            worker.poll() is not None or found.run("workers", "--json").stdout.strip() not in ("", "[]")
        ):
            pass
        sample = PROJECT / "farm" / "samples"
        done = found.run(
            "submit", str(sample / "digits.onnx"), "--gpu", "gpu", "--toolchain", "tensorrt",
            "--precision", "fp32,fp16", "--batch", "1,8,32", "--inputs", str(sample / "digits.npz"), *OPTIONS, "--wait",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + done.stdout
        yield found
    finally:
        worker.terminate()
        worker.wait(60)


def test_every_engine_is_verified_and_timed_plain_and_as_a_graph(farm: GpuFarm) -> None:
    engines = farm.json("engines", "digits")
    assert {engine["precision"] for engine in engines} == {"fp32", "fp16"}
    for engine in engines:
        assert engine["verified"]
        assert engine["accuracy"]["label_top1"] == 1.0
        assert engine["accuracy"]["outputs"][0]["cosine"] > 0.999
        names = ("plain", "plain-compute", "cuda-graph", "cuda-graph-compute")
        methods = {(found["batch"], found["method"]) for found in engine["measurements"]}
        assert methods == {(batch, name) for batch in (1, 8, 32) for name in names}
        for found in engine["measurements"]:
            assert (found["h2d"] is not None) == found["transfers"]
            assert found["h2d"] is None or found["h2d"]["median_ms"] > 0


def test_what_is_built_is_not_built_again(farm: GpuFarm) -> None:
    sample = PROJECT / "farm" / "samples"
    found = farm.json(
        "submit", str(sample / "digits.onnx"), "--gpu", "gpu", "--toolchain", "tensorrt",
        "--precision", "fp32,fp16", "--batch", "1,8,32", *OPTIONS,
    )  # fmt: skip
    assert [cell["disposition"] for cell in found["cells"]] == ["built", "built"]


def test_a_fetched_engine_is_loaded_and_run_by_tensorrt(
    farm: GpuFarm, tensorrt_python: Path, tmp_path: Path
) -> None:
    path = tmp_path / "digits.engine"
    assert farm.run("fetch", "digits", "--precision", "fp16", "-o", str(path)).returncode == 0
    done = subprocess.run(
        [str(tensorrt_python), "-c", RUN_ENGINE, str(path), str(PROJECT / "farm/samples/digits.npz")],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "1.0", done.stderr


def test_the_timing_cache_is_filed_and_lent(farm: GpuFarm) -> None:
    sample = PROJECT / "farm" / "samples"
    before = {
        engine["key"]: engine["build_s"] for engine in farm.json("engines", "digits", "--precision", "fp16")
    }
    done = farm.run(
        "submit", str(sample / "digits.onnx"), "--gpu", "gpu", "--toolchain", "tensorrt", "--precision", "fp16",
        "--batch", "1,8,32", "--salt", "again", *OPTIONS, "--wait",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    after = {
        engine["key"]: engine["build_s"] for engine in farm.json("engines", "digits", "--precision", "fp16")
    }
    (fresh,) = set(after) - set(before)
    assert after[fresh] < max(before.values())
