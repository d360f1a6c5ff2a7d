"""What tests of workers start from: a farm in a folder, a device of its own, a small model, the fake."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from farm.bootstrap import Farm, make_farm, open_farm
from farm.domain.benchmarks import BenchmarkSpec
from farm.domain.identifiers import new_id
from farm.domain.jobs import JobState
from farm.domain.targets import Device, DeviceKind, DeviceType
from farm.domain.work import JobRequest
from farm.services.plan import BuildRequest, plan_builds
from farm.services.refits import with_refits
from farm.services.submit import SubmitOrder, keep_model, submit_plan
from farm.settings import DEFAULT_LOCKS, Settings, read_settings
from farm.storage.database import SqlDatabase
from farm.storage.onnx_files import read_model
from farm.storage.signing import make_signer
from tests.fake_toolchain.toolchain import DESCRIPTION
from workers.agent import RunningWorker
from workers.interpreters import Interpreter
from workers.offers import Offer, offer_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from farm.domain.calibration import Calibration
    from farm.domain.filing import Engine
    from farm.domain.work import Attempt, Job

ROOT = Path(__file__).parents[2]
QUICK = BenchmarkSpec(warmup_ms=0, duration_ms=5, min_iterations=3, precision_percent=100)
CPU = DeviceType(DeviceKind.CPU, "Test CPU", units=2)
PATIENCE_S = 60.0
#: Shorter than usual, longer than a busy machine may stop a thread for.
LEASE_S = 4.0


def wait_until(what: Callable[[], Any], *, seconds: float = PATIENCE_S) -> Any:
    """What becomes true, as soon as it does."""
    end = time.monotonic() + seconds
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Fake:
    """The fake toolchain's interpreter, and the strings to pull."""

    def __init__(self, folder: Path, *script: str) -> None:
        self.control = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.python = folder / "python"
        program = Path(__file__).with_name("interpreter.py")
        self.python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{program}" "{folder}" "$@"\n')
        self.python.chmod(0o755)
        self.does(*script or ("build",))

    def does(self, *script: str) -> None:
        """What the builds do, one after the other."""
        (self.control / "script").write_text("\n".join(script))

    def keeps_caches(self, *, merging: str = "") -> None:
        """From now on builds use timing caches; what merging two does beside it."""
        (self.control / "caches").touch()
        if merging:
            (self.control / "merge").write_text(merging)

    def go(self) -> None:
        """Ends every wait."""
        (self.control / "go").touch()

    def pids(self) -> list[int]:
        """Of all builds so far, in their order."""
        found = sorted(self.control.glob("build-*"), key=lambda path: int(path.name.partition("-")[2]))
        return [int(path.read_text() or 0) for path in found]

    def pid(self, number: int = 1) -> int:
        """Of a build, once it has begun."""
        wait_until(lambda: len(self.pids()) >= number and self.pids()[number - 1])
        return self.pids()[number - 1]

    def grandchild(self) -> int:
        """Of what a build started."""
        return int((self.control / "grandchild").read_text())

    @property
    def interpreter(self) -> Interpreter:
        """As a probe would describe it."""
        return Interpreter(self.python, "3.11", (DESCRIPTION,), {})


def write_model(path: Path, *, weights: Any = None, batch: int | str = 1, opset: int = 17) -> Path:
    """`y = x · w`, with x of shape `batch x 4`."""
    from onnx import TensorProto, checker, helper, numpy_helper, save

    if weights is None:
        weights = np.arange(12, dtype=np.float32).reshape(4, 3)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, weights.shape[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, weights.shape[1]])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)])
    checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    save(model, path)
    return path


def settings_in(folder: Path, **changes: Any) -> Settings:
    """An embedded farm in a folder, quick to look."""
    return replace(read_settings(folder, {}), **{"lease_s": LEASE_S, "poll_s": 0.05, **changes})


@dataclass
class FarmOfTest:
    """A farm with what can be done to it."""

    farm: Farm
    fake: Fake
    device: Device
    #: The farm's own first; the fake's last.
    interpreters: tuple[Interpreter, ...]
    model: Path

    @property
    def offer(self) -> Offer:
        """What a worker of this farm serves."""
        return offer_of(self.device, self.interpreters)

    def describe(self) -> None:
        """Makes the targets known before there is a worker."""
        with self.farm.database.transaction() as transaction:
            transaction.fleet.describe(self.offer.device_types, self.offer.descriptions)

    def worker(self, **options: Any) -> RunningWorker:
        """A worker inside this process."""
        return RunningWorker(self.farm, self.offer, self.interpreters, **options)

    @contextmanager
    def worker_process(self, *, device: Device | None = None, **options: Any) -> Iterator[WorkerProcess]:
        """A worker in a process of its own."""
        process = WorkerProcess(self, device or self.device, options)
        try:
            process.wait_until_ready()
            yield process
        finally:
            process.kill()

    def submit(
        self,
        *,
        model: Path | None = None,
        toolchain: str = "fake",
        precisions: Sequence[str] = ("fp32",),
        salt: str = "",
        batches: tuple[int, ...] = (),
        calibration: Calibration | None = None,
        calibration_algorithm: str = "",
        options: Mapping[str, Any] | None = None,
        refit: bool = False,
        **request: Any,
    ) -> list[str]:
        """The ids of the jobs of a submission."""
        self.describe()
        path = model or self.model
        known = read_model(path)
        keep_model(self.farm.store, known, path.parent, lambda _line: None)
        with self.farm.database.reading() as transaction:
            wanted = BuildRequest(
                toolchains=(toolchain,),
                precisions=tuple(precisions),
                salt=salt,
                batches=batches,
                calibration=calibration,
                calibration_algorithm=calibration_algorithm,
                options=options or {},
            )
            plan = plan_builds(transaction, known, wanted)
            if refit:
                plan = with_refits(transaction, known, plan)
        order = SubmitOrder("small", "me", {}, JobRequest(**{"benchmark": QUICK, **request}))
        submission = submit_plan(self.farm.database, known, plan, order)
        return [cell.job_id for cell in submission.cells]

    def job(self, job_id: str) -> Job:
        """As it is now."""
        with self.farm.database.reading() as transaction:
            return transaction.jobs.get(job_id)

    def attempts(self, job_id: str) -> list[Attempt]:
        """As they are now."""
        with self.farm.database.reading() as transaction:
            return transaction.jobs.attempts(job_id)

    def engine(self, job_id: str) -> Engine:
        """What a job has filed."""
        with self.farm.database.reading() as transaction:
            found = transaction.engines.find(transaction.jobs.get(job_id).spec)
        assert found is not None
        return found

    def engines(self) -> list[Engine]:
        """All that are filed."""
        with self.farm.database.reading() as transaction:
            return transaction.engines.engines()

    def live_log(self, job_id: str) -> str:
        """Of the newest attempt."""
        with self.farm.database.reading() as transaction:
            return transaction.jobs.live_log(transaction.jobs.attempts(job_id)[-1])

    def log(self, attempt: Attempt) -> str:
        """The log that was kept."""
        assert attempt.log is not None
        return b"".join(self.farm.store.chunks(attempt.log)).decode(errors="replace")

    def ended(self, job_id: str, *, seconds: float = PATIENCE_S) -> Job:
        """A job, as soon as nothing more will happen to it."""
        wait_until(lambda: self.job(job_id).state.is_terminal, seconds=seconds)
        return self.job(job_id)

    def succeeded(self, job_id: str) -> Job:
        """A job that is to succeed, once it has."""
        job = self.ended(job_id)
        assert job.state is JobState.SUCCEEDED, job.failure
        return job

    def scratch_of_attempts(self) -> list[Path]:
        """The folders of attempts in progress."""
        return list(self.farm.settings.scratch.glob("j-*"))


class WorkerProcess:
    """`python -m tests.fake_toolchain.worker_process`."""

    def __init__(self, place: FarmOfTest, device: Device, options: dict[str, Any]) -> None:
        settings = place.farm.settings
        self._log = place.fake.control / f"worker-{new_id('w')}.log"
        document = {
            "settings": {
                name: str(value) if isinstance(value, Path) else value
                for name, value in vars(settings).items()
            },
            "device": device.uuid,
            "fake": str(place.fake.control),
            "options": options,
        }
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.fake_toolchain.worker_process", json.dumps(document)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Of the worker."""
        return self.process.pid

    def said(self) -> str:
        """What it printed and logged."""
        return self._log.read_text(errors="replace")

    def wait_until_ready(self) -> None:
        """Until it takes jobs."""
        wait_until(lambda: "ready" in self.said() or self.process.poll() is not None)
        assert self.process.poll() is None, self.said()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the worker alone."""
        os.kill(self.pid, number)

    def stop(self) -> None:
        """Tells it to stop, and waits until it has."""
        self.signal(signal.SIGTERM)
        self.process.wait(30)

    def kill(self) -> None:
        """As the out-of-memory killer would."""
        self.process.kill()
        self.process.wait()


def with_signing_key(settings: Settings) -> Settings:
    """A fleet's settings, with a key for its workers that the fleet trusts."""
    path = settings.home / "signing.key"
    key = make_signer(path).public_key
    farm = open_farm(settings)
    with farm.database.transaction() as transaction:
        transaction.keys.add(key.id, str(key), "of the test")
    assert isinstance(farm.database, SqlDatabase)
    farm.database.close()
    return replace(settings, signing_key=path)


@contextmanager
def farm_of_test(folder: Path, own: Interpreter, *, settings: Settings | None = None) -> Iterator[FarmOfTest]:
    """A new farm, closed at the end; the lock of its device is removed."""
    settings = settings or settings_in(folder / "home")
    if settings.sqlite_path is None:
        make_farm(settings)
        settings = with_signing_key(settings)
    farm = open_farm(settings)
    # No other farm of this machine serves it, so nobody waits for anybody.
    device = Device(new_id("CPU-test"), CPU, 0, 4096, "", settings.host)
    fake = Fake(folder / "fake")
    try:
        yield FarmOfTest(farm, fake, device, (own, fake.interpreter), write_model(folder / "model.onnx"))
    finally:
        assert isinstance(farm.database, SqlDatabase)
        farm.database.close()
        for lock in DEFAULT_LOCKS.glob(f"{device.uuid}*"):
            lock.unlink()
