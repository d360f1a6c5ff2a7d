# ruff: noqa: T201 - what a real card tells is for whoever reads the report (pytest -s)
"""What a real card tells of its conditions, and what the farm makes of it; `pytest -s` prints it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from farm.bootstrap import open_farm
from farm.domain.conditions import conditions_of
from farm.domain.jobs import JobKind
from farm.domain.targets import DeviceKind
from farm.domain.work import JobRequest
from farm.settings import read_settings
from tests.gpu.conftest import PROJECT
from workers.condition_watch import GAP_S, ConditionWatch
from workers.devices import discover_devices
from workers.nvml_samples import NvmlSampler

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from farm.domain.benchmarks import Measurement

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]
#: Holds a context, and keeps the card busy with copies within its memory.
STRANGER = """
import sys, time
import pycuda.driver as cuda
cuda.init()
context = cuda.Device(0).make_context()
memory = cuda.mem_alloc(1 << 30)
print("on", flush=True)
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    cuda.memcpy_dtod(int(memory), int(memory) + (1 << 29), 1 << 29)
    context.synchronize()
context.pop()
"""


@pytest.fixture(scope="module")
def uuid() -> str:
    found = [d for d in discover_devices() if d.device_type.kind is DeviceKind.GPU]
    if not found:
        pytest.skip("no GPU that NVML lists")
    return found[0].uuid


@contextmanager
def stranger(python: Path, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """A process of somebody else on the card."""
    with subprocess.Popen(
        [str(python), "-c", STRANGER, str(seconds)],
        env={**os.environ, "PYTHONPATH": ""},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "on\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_card_tells_clocks_heat_power_energy_and_processes(uuid: str) -> None:
    sampler = NvmlSampler(uuid)
    began = time.perf_counter()
    looks = [sampler.sample(time.monotonic()) for _ in range(20)]
    took_ms = 1000 * (time.perf_counter() - began) / len(looks)
    sampler.close()
    (found, *_) = looks
    assert found is not None, "NVML tells nothing at all"
    absent = sorted(name for name, value in asdict(found).items() if value is None)
    print(json.dumps({"sample": asdict(found), "absent": absent, "ms_per_sample": took_ms}, indent=1))
    wanted = {"sm_clock_mhz", "memory_clock_mhz", "reasons", "temperature_c", "power_w", "memory_used_mib"}
    assert not wanted & set(absent), f"this card does not tell {wanted & set(absent)}"
    assert sampler.notes == []


def test_the_energy_counter_and_the_power_agree_while_the_card_works(
    uuid: str, tensorrt_python: Path
) -> None:
    with stranger(tensorrt_python, 60), ConditionWatch(uuid, os.getpid(), lambda: "busy") as watch:
        time.sleep(1.5)
        window = (time.monotonic(), time.monotonic() + 2)
        time.sleep(2.2)
    found = conditions_of(watch.seen, window)
    moved = [s.energy_j for s in watch.seen.device]
    steps = sum(a != b for a, b in pairwise(moved))
    print(json.dumps({"conditions": found, "counter_moved": steps, "samples": len(moved)}, indent=1))
    assert found["samples"] >= 10 * 2, f"fewer than ten looks a second: {found['samples']} in 2 s"
    if "energy_j" not in found:
        pytest.skip("this card has no energy counter")
    assert found["energy_j"] / 2 == pytest.approx(found["power_w"]["median"], rel=0.2), found


def test_another_process_is_seen(uuid: str, tensorrt_python: Path) -> None:
    with ConditionWatch(uuid, os.getpid(), lambda: "busy") as watch:
        time.sleep(4 * GAP_S)
        with stranger(tensorrt_python, 60):
            time.sleep(1)
    listed = [s.processes for s in watch.seen.device]
    if listed[0] is None:
        pytest.skip("NVML lists no processes here (a container without them)")
    print(
        json.dumps({"first": [asdict(p) for p in listed[0]], "last": [asdict(p) for p in listed[-1] or ()]})
    )
    assert len(listed[-1] or ()) == len(listed[0]) + 1, "the other process is not listed"


class Measured:
    """A farm with an engine of the digits, and a worker of this process for each benchmark."""

    def __init__(self, home: Path, python: Path) -> None:
        self.home = home
        self.python = python
        self.environment = {**os.environ, "FARM_HOME": str(home)}

    def farm(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cli.main", *words],
            cwd=PROJECT, env=self.environment, capture_output=True, text=True, timeout=500, check=False,
        )  # fmt: skip

    def runs(self) -> list[tuple[Measurement, ...]]:
        """The measurements of every run, oldest first."""
        opened = open_farm(read_settings(self.home, {}))
        with opened.database.reading() as transaction:
            (engine,) = transaction.engines.engines()
        return [run.measurements for run in engine.runs]

    def benchmark(self) -> list[tuple[Measurement, ...]]:
        """Measures the engine again; the runs that are new."""
        before = len(self.runs())
        opened = open_farm(read_settings(self.home, {}))
        with opened.database.transaction() as transaction:
            (engine,) = transaction.engines.engines()
            spec = replace(JobRequest().benchmark, batches=(8,))
            job = transaction.jobs.add(engine.spec, JobRequest(kind=JobKind.BENCHMARK, benchmark=spec))
        with self.worker():
            end = time.monotonic() + 300
            while not self._is_over(job.id):
                assert time.monotonic() < end, f"{job.id} does not end"
                time.sleep(0.2)
        return self.runs()[before:]

    @contextmanager
    def worker(self) -> Iterator[None]:
        words = ["up", "--device", "gpu", "--toolchain-python", str(self.python)]
        with subprocess.Popen(
            [sys.executable, "-m", "cli.main", *words],
            cwd=PROJECT, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as worker:  # fmt: skip
            try:
                while worker.poll() is None and self.farm("workers", "--json").stdout.strip() in ("", "[]"):
                    time.sleep(0.2)
                yield
            finally:
                worker.terminate()
                worker.wait(60)

    def _is_over(self, job_id: str) -> bool:
        opened = open_farm(read_settings(self.home, {}))
        with opened.database.reading() as transaction:
            return transaction.jobs.get(job_id).state.is_terminal


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, tensorrt_python: Path) -> Measured:
    found = Measured(tmp_path_factory.mktemp("conditions"), tensorrt_python)
    with found.worker():
        sample = PROJECT / "farm" / "samples"
        done = found.farm(
            "submit", str(sample / "digits.onnx"), "--gpu", "gpu", "--toolchain", "tensorrt", "--precision", "fp16",
            "--batch", "8", "--set", "tactic_sources=-CUBLAS,-CUBLAS_LT,-CUDNN",
            "--set", "builder_optimization_level=1", "--wait",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + done.stdout
    return found


def kinds(measurements: tuple[Measurement, ...]) -> set[str]:
    return {taint.partition(":")[0] for m in measurements for taint in m.taints}


def show(measurements: tuple[Measurement, ...]) -> Any:
    return [
        {"method": str(m.method), "median_ms": m.compute.median_ms, "taints": m.taints, **m.conditions}
        for m in measurements
    ]


def test_on_a_quiet_card_the_farms_own_child_is_not_foreign(measured: Measured) -> None:
    runs = measured.runs()
    print(json.dumps([show(run) for run in runs], indent=1))
    for found in runs[-1]:
        assert found.conditions["samples"] >= 2, found.conditions
        assert found.conditions.get("foreign", []) == [], found.conditions
    assert not {"foreign process", "ECC errors"} & kinds(runs[-1])


def test_beside_a_stranger_figures_are_tainted_and_measured_again(
    measured: Measured, tensorrt_python: Path
) -> None:
    if "foreign" not in measured.runs()[-1][0].conditions:
        pytest.skip("NVML lists no processes here (a container without them)")
    with stranger(tensorrt_python, 400):
        found = measured.benchmark()
    print(json.dumps([show(run) for run in found], indent=1))
    assert len(found) == 3, "it is measured again twice"
    assert all("foreign process" in kinds(run) for run in found)
