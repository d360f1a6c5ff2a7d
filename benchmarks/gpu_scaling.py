"""The same set of builds on 1, 2, … GPUs of one host: how much faster more GPUs are.

    python benchmarks/gpu_scaling.py --toolchain-python /opt/trt86/bin/python --gpus 1,2,4 --out results

A new farm (its own Redis, database and store) has one `farm worker` of all those devices. One build on every GPU goes
before, uncounted, for the disk's and the driver's caches. Then for every number of GPUs the other workers are drained,
and while those that are left wait, as in a fleet, the same set of builds is submitted at once, each with a salt
of its own, so that nothing is shared. What counts is the time from the first claim to the last finish, by the
database's clock.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent

#: For workers to find their toolchains.
_START_S = 60.0
_HEARTBEAT_S = 5.0


class Host:
    """Farms in folders of their own on one host."""

    def __init__(self, args: argparse.Namespace, folder: Path) -> None:
        self.args, self.folder = args, folder

    def farm(self, home: Path, words: str, *, check: bool = True) -> str:
        """Runs the command line."""
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *shlex.split(words)],
            cwd=ROOT,
            env=self.environment(home),
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode:
            raise SystemExit(f"farm {words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def environment(self, home: Path) -> dict[str, str]:
        """Of every process of one farm."""
        return {
            **os.environ,
            "FARM_HOME": str(home),
            "FARM_BROKER_URL": f"redis://127.0.0.1:{self.args.redis_port}/0",
        }

    @contextmanager
    def worker(self, home: Path, gpus: int) -> Iterator[subprocess.Popen[bytes]]:
        """A `farm worker` with so many GPUs, a process for each."""
        devices = [word for index in range(gpus) for word in ("--device", str(index))]
        with (self.args.out / "worker.log").open("ab") as log:
            process = subprocess.Popen(
                [
                    sys.executable, "-m", "cli.main", "worker", *devices,
                    "--toolchain-python", str(self.args.toolchain_python),
                ],
                cwd=ROOT, env=self.environment(home), stdout=log, stderr=log,
            )  # fmt: skip
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)

    def submit(self, home: Path, salt: str) -> str:
        """One build; its submission."""
        options = " ".join(f"--set {shlex.quote(option)}" for option in self.args.options)
        words = (
            f"submit {shlex.quote(str(self.args.model))} --gpu {self.args.gpu} --toolchain tensorrt --batch 8 "
            f"--precision {self.args.precision} --salt {salt} {options} {self.args.submit_options} --json"
        )
        document = json.loads(self.farm(home, words))
        return str(document["id"])

    def measure(self, counts: Sequence[int]) -> Iterator[dict[str, Any]]:
        """The set on each number of GPUs, and how long it took."""
        home = self.folder / "farm"
        home.mkdir()
        self.farm(home, "db upgrade")
        most = max(counts)
        with self.worker(home, most):
            self.until(home, lambda: self.live(home) == most, patience_s=_START_S)
            say(f"{most} workers live")
            self.build(home, "warm", most)
            for gpus in counts:
                self.serve_with(home, gpus)
                ids = self.build(home, f"{gpus}-", self.args.builds)
                yield {"gpus": gpus, "builds": len(ids), **self.figures(home, set(ids))}

    def build(self, home: Path, salt: str, count: int) -> list[str]:
        """So many builds, submitted at once, until they are done; their submissions."""
        with ThreadPoolExecutor(count) as clients:
            ids = list(clients.map(lambda number: self.submit(home, f"{salt}{number}"), range(count)))
        say(f"{count} builds {salt} submitted")
        self.until(home, lambda: all(self.done(home, one) for one in ids))
        return ids

    def serve_with(self, home: Path, gpus: int) -> None:
        """Drains all workers but so many."""
        workers = sorted(
            json.loads(self.farm(home, "workers --json")), key=lambda worker: str(worker["name"])
        )
        for place, worker in enumerate(workers):
            order = "resume" if place < gpus else "drain"
            if (worker["state"] == "live") == (order == "drain"):
                self.farm(home, f"worker {order} {worker['name']}")
        # A worker hears of it with its next heartbeat.
        time.sleep(_HEARTBEAT_S + 1)
        self.until(home, lambda: self.live(home) == gpus)
        say(f"{gpus} of {len(workers)} workers take jobs")

    def live(self, home: Path) -> int:
        """How many workers live."""
        return sum(worker["state"] == "live" for worker in json.loads(self.farm(home, "workers --json")))

    def done(self, home: Path, submission: str) -> bool:
        """Whether a submission has ended well; anything else ends the benchmark."""
        states = {
            cell["state"] for cell in json.loads(self.farm(home, f"status {submission} --json"))["cells"]
        }
        if states & {"FAILED", "CANCELLED"}:
            raise SystemExit(self.farm(home, f"status {submission}"))
        return states <= {"SUCCEEDED", "BUILT"}

    def until(self, home: Path, condition: Any, patience_s: float | None = None) -> None:
        """Waits; says what the farm and the worker say if it takes too long."""
        end = time.monotonic() + (patience_s or self.args.patience_s)
        while not condition():
            if time.monotonic() > end:
                words = [
                    self.farm(home, word, check=False) for word in ("workers", "queue", "devices", "failures")
                ]
                raise SystemExit("\n".join([*words, (self.args.out / "worker.log").read_text()[-4000:]]))
            time.sleep(0.5)

    def figures(self, home: Path, submissions: set[str]) -> dict[str, Any]:
        """First claim to last finish, and what every GPU did."""
        from farm.bootstrap import open_farm
        from farm.settings import read_settings

        farm = open_farm(read_settings(environment=self.environment(home)), create=False)
        with farm.database.reading() as transaction:
            jobs = [cell.job_id for one in submissions for cell in transaction.jobs.submission(one).cells]
            attempts = [transaction.jobs.attempts(job)[-1] for job in jobs]
        ends = [attempt.finished_at for attempt in attempts if attempt.finished_at]
        span_s = (max(ends) - min(attempt.claimed_at for attempt in attempts)).total_seconds()
        builds = sorted(attempt.seconds["build"] for attempt in attempts)
        of_gpu: dict[str, int] = {}
        for attempt in attempts:
            of_gpu[attempt.device_uuid] = of_gpu.get(attempt.device_uuid, 0) + 1
        begin = min(attempt.claimed_at for attempt in attempts)
        gpus = sorted(of_gpu)
        return {
            "attempts": [
                {
                    "gpu": gpus.index(attempt.device_uuid),
                    "claimed_s": round((attempt.claimed_at - begin).total_seconds(), 2),
                    "finished_s": round((attempt.finished_at - begin).total_seconds(), 2),
                    "seconds": {phase: round(took, 2) for phase, took in attempt.seconds.items()},
                }
                for attempt in sorted(attempts, key=lambda attempt: attempt.claimed_at)
                if attempt.finished_at
            ],
            "span_s": round(span_s, 2),
            "build_median_s": round(builds[len(builds) // 2], 2),
            "per_gpu": sorted(of_gpu.values()),
        }


def say(text: str) -> None:
    """A line at once."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def main() -> None:
    """Measures and prints."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--toolchain-python", type=Path, required=True)
    ask.add_argument("--gpus", default="1,2,4")
    ask.add_argument("--gpu", default="h200")
    ask.add_argument("--builds", type=int, default=16)
    ask.add_argument("--model", type=Path, default=ROOT / "farm" / "samples" / "digits.onnx")
    ask.add_argument("--precision", default="fp16")
    ask.add_argument("--set", dest="options", action="append", default=[])
    ask.add_argument("--submit-options", default="")
    ask.add_argument("--redis-port", type=int, default=6391)
    ask.add_argument("--patience-s", type=float, default=500)
    ask.add_argument("--out", type=Path, required=True)
    args = ask.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    redis = subprocess.Popen(
        ["redis-server", "--port", str(args.redis_port), "--save", ""], stdout=subprocess.DEVNULL
    )
    results = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            host = Host(args, Path(folder))
            for result in host.measure([int(count) for count in args.gpus.split(",")]):
                results.append(result)
                results[-1]["speed_up"] = round(results[0]["span_s"] / results[-1]["span_s"], 2)
                print(json.dumps(results[-1]), flush=True)
                (args.out / "scaling.json").write_text(json.dumps(results, indent=2) + "\n")
    finally:
        redis.kill()


if __name__ == "__main__":
    main()
