"""Shows what a real card tells of its conditions, and what the farm makes of it; in the worker's own Python, without pytest.

    PYTHONPATH=. python3 tests/gpu/drive_conditions.py --python TRT_PYTHON             # every check
    PYTHONPATH=. python3 tests/gpu/drive_conditions.py --python TRT_PYTHON --check energy

TRT_PYTHON has TensorRT and PyCUDA; this Python what a worker needs, nvidia-ml-py too. Prints one JSON line per check:
`{"check": …, "status": "PASS" | "FAIL" | "SKIP", "seconds": …, "detail": …}`; the detail is what was seen. Exits 1 if any failed.
"""

# ruff: noqa: T201 - a program that prints its results

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm.bootstrap import open_farm
from farm.domain.conditions import conditions_of
from farm.domain.jobs import JobKind
from farm.domain.targets import DeviceKind
from farm.domain.work import JobRequest
from farm.settings import read_settings
from farm.storage.database import SqlDatabase
from workers.condition_watch import GAP_S, ConditionWatch
from workers.devices import discover_devices
from workers.nvml_samples import NvmlSampler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from farm.domain.benchmarks import Measurement
    from farm.services.ports import Transaction

PROJECT = Path(__file__).resolve().parents[2]
_DEADLINE_S = 300.0
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


class Skipped(Exception):  # noqa: N818 - it is no error
    """This machine can not show it."""


class Host:
    """The card and the interpreter that uses it."""

    def __init__(self, python: Path) -> None:
        found = [d for d in discover_devices() if d.device_type.kind is DeviceKind.GPU]
        if not found:
            raise Skipped("no GPU that NVML lists")
        self.uuid = found[0].uuid
        self.python = python

    @contextmanager
    def stranger(self, seconds: float = _DEADLINE_S) -> Iterator[None]:
        """A process of somebody else on the card while the block runs."""
        with subprocess.Popen(
            [str(self.python), "-c", STRANGER, str(seconds)],
            env={**os.environ, "PYTHONPATH": ""},
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            try:
                assert process.stdout.readline() == "on\n", "PyCUDA can not use the card there"
                yield
            finally:
                process.kill()

    def watch(self) -> ConditionWatch:
        """A watch over the card, as if this process were the child."""
        return ConditionWatch(self.uuid, os.getpid(), lambda: "benchmark")


class OwnFarm:
    """A farm in a folder, with a worker for the card whenever it is wanted."""

    def __init__(self, host: Host, home: Path) -> None:
        self.host = host
        self.home = home
        self.environment = {**os.environ, "FARM_HOME": str(home), "FARM_CANARY": "off"}
        sample = PROJECT / "farm" / "samples" / "digits.onnx"
        with self.worker():
            done = self.farm(
                "submit", str(sample), "--gpu", "gpu", "--toolchain", "tensorrt", "--precision", "fp16",
                "--batch", "8", "--set", "tactic_sources=-CUBLAS,-CUBLAS_LT,-CUDNN",
                "--set", "builder_optimization_level=1", "--wait",
            )  # fmt: skip
        assert done.returncode == 0, done.stderr + done.stdout

    def farm(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Runs a command of the farm."""
        return subprocess.run(
            [sys.executable, "-m", "cli.main", *words],
            cwd=PROJECT, env=self.environment, capture_output=True, text=True, timeout=500, check=False,
        )  # fmt: skip

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """One on the farm's database."""
        database = open_farm(read_settings(self.home, {})).database
        assert isinstance(database, SqlDatabase)
        with closing(database), database.transaction() as transaction:
            yield transaction

    @contextmanager
    def worker(self) -> Iterator[None]:
        """A worker for the card while the block runs."""
        words = ["up", "--device", "gpu", "--toolchain-python", str(self.host.python)]
        with subprocess.Popen(
            [sys.executable, "-m", "cli.main", *words],
            cwd=PROJECT, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as worker:  # fmt: skip
            try:
                _wait(
                    lambda: self.farm("workers", "--json").stdout.strip() not in ("", "[]"), "no worker comes"
                )
                yield
            finally:
                worker.terminate()
                worker.wait(60)

    def runs(self) -> list[tuple[Measurement, ...]]:
        """The measurements of every run, oldest first."""
        with self.transaction() as transaction:
            (engine,) = transaction.engines.engines()
        return [run.measurements for run in engine.runs]

    def benchmark(self) -> list[tuple[Measurement, ...]]:
        """Measures the engine again; the runs that are new."""
        before = len(self.runs())
        with self.transaction() as transaction:
            (engine,) = transaction.engines.engines()
            spec = replace(JobRequest().benchmark, batches=(8,))
            job = transaction.jobs.add(engine.spec, JobRequest(kind=JobKind.BENCHMARK, benchmark=spec))

        def is_over() -> bool:
            with self.transaction() as transaction:
                return transaction.jobs.get(job.id).state.is_terminal

        with self.worker():
            _wait(is_over, f"{job.id} does not end")
        return self.runs()[before:]


def sample(host: Host, _folder: Path) -> Any:
    """Clocks, heat, power, energy, processes and ECC counters of one look, and how long a look takes."""
    sampler = NvmlSampler(host.uuid)
    began = time.perf_counter()
    looks = [sampler.sample(time.monotonic()) for _ in range(50)]
    took_ms = 1000 * (time.perf_counter() - began) / len(looks)
    sampler.close()
    found = looks[0]
    assert found is not None, "NVML tells nothing at all"
    seen = {"ms_per_look": took_ms, **asdict(found)}
    wanted = ("sm_clock_mhz", "memory_clock_mhz", "reasons", "temperature_c", "power_w", "memory_used_mib")
    absent = [name for name in wanted if seen[name] is None]
    assert not absent, f"the card does not tell {absent}: {seen}"
    assert not sampler.notes, sampler.notes
    return seen


def energy(host: Host, _folder: Path) -> Any:
    """The growth of the energy counter is the power by the time, while the card works."""
    with host.stranger(), host.watch() as watch:
        time.sleep(1.5)
        window = (time.monotonic(), time.monotonic() + 2)
        time.sleep(2.2)
    found = conditions_of(watch.seen, window)
    told = [s.energy_j for s in watch.seen.device if s.energy_j is not None]
    seen = {
        "conditions": found,
        "looks": len(watch.seen.device),
        "counter_moved": sum(a != b for a, b in pairwise(told)),
    }
    assert found.get("samples", 0) >= 20, f"fewer than ten looks a second: {seen}"
    if "energy_j" not in found:
        raise Skipped(f"the card has no energy counter: {seen}")
    assert 0.8 < found["energy_j"] / 2 / found["power_w"]["median"] < 1.25, seen
    return seen


def other_process(host: Host, _folder: Path) -> Any:
    """A process of somebody else is listed as long as it is there."""
    with host.watch() as watch:
        time.sleep(4 * GAP_S)
        with host.stranger():
            time.sleep(1)
            window = (time.monotonic() - 0.5, time.monotonic())
    first = watch.seen.device[0].processes
    if first is None:
        raise Skipped("NVML lists no processes here")
    found = conditions_of(watch.seen, window)["foreign"]
    seen = {"before": [asdict(process) for process in first], "foreign": found}
    listed = max(len(s.processes or ()) for s in watch.seen.device)
    assert listed == len(first) + 1, f"the other process is not listed: {seen}"
    return seen


def own_child(host: Host, folder: Path) -> Any:
    """On a quiet card the farm's own child is nobody else, and its figures have their conditions."""
    runs = OwnFarm(host, folder).runs()
    seen = [_shown(run) for run in runs]
    for found in runs[-1]:
        assert found.conditions.get("samples", 0) >= 2, seen
        assert not found.conditions.get("foreign"), f"who is that? {seen}"
    return seen


def beside_a_stranger(host: Host, folder: Path) -> Any:
    """Beside somebody else figures are tainted, and measured again twice."""
    farm = OwnFarm(host, folder)
    if "foreign" not in farm.runs()[-1][0].conditions:
        raise Skipped("NVML lists no processes here")
    with host.stranger():
        runs = farm.benchmark()
    seen = [_shown(run) for run in runs]
    assert len(runs) == 3, f"{len(runs)} runs: {seen}"
    for run in runs:
        assert all(any(t.startswith("foreign process") for t in m.taints) for m in run), seen
    return seen


CHECKS: dict[str, Callable[[Host, Path], Any]] = {
    check.__name__: check for check in (sample, energy, other_process, own_child, beside_a_stranger)
}


def _shown(measurements: tuple[Measurement, ...]) -> Any:
    return [
        {"method": str(m.method), "median_ms": m.compute.median_ms, "taints": m.taints, **m.conditions}
        for m in measurements
    ]


def _wait(what: Callable[[], bool], otherwise: str) -> None:
    end = time.monotonic() + _DEADLINE_S
    while not what():
        assert time.monotonic() < end, otherwise
        time.sleep(0.2)


def main() -> int:
    """Runs one check, or all of them."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--python", type=Path, required=True, help="an interpreter with TensorRT and PyCUDA")
    ask.add_argument("--check", choices=sorted(CHECKS))
    args = ask.parse_args()
    failed = 0
    for name in [args.check] if args.check else CHECKS:
        began = time.monotonic()
        line: dict[str, Any] = {"check": name, "status": "PASS"}
        with tempfile.TemporaryDirectory(prefix="drive-conditions-") as folder:
            try:
                line["detail"] = CHECKS[name](Host(args.python), Path(folder))
            except Skipped as reason:
                line.update(status="SKIP", detail=str(reason))
            except Exception as error:  # noqa: BLE001 - a failed check is reported, the others go on
                traceback.print_exc()
                line.update(status="FAIL", detail=f"{type(error).__name__}: {error}")
                failed += 1
        line["seconds"] = round(time.monotonic() - began, 1)
        print(json.dumps(line, default=str), flush=True)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
