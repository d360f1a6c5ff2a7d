"""The farm's main job on a GPU host, through its own command line, with a transcript and the tables.

    python benchmarks/gpu_walkthrough.py --toolchain-python /opt/trt86/bin/python --out results \
        --models digits,conv3d,resnet50,unet --kill

Starts a private Redis (`redis-server` on PATH) and a worker, exports the models with PyTorch, submits
each in FP32, TF32 and FP16, submits them again (nothing is built), fetches an engine and runs it with
TensorRT, kills a worker in mid-build, and writes what `farm engines` and `farm history` say to OUT.
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
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
PRECISIONS = "fp32,tf32,fp16"
INPUT_OF = {"digits": "image", "conv3d": "volume", "resnet50": "input", "unet": "image"}
RUN_ENGINE = """
import sys, numpy as np
from workers.toolchains import load_toolchain
from pathlib import Path
engine = load_toolchain("tensorrt").load(Path(sys.argv[1]))
shape = [8 if size == -1 else size for size in engine.inputs[0].shape]
outputs = engine.infer({engine.inputs[0].name: np.ones(shape, dtype=engine.inputs[0].dtype)})
print({name: [list(a.shape), bool(np.isfinite(a).all())] for name, a in outputs.items()})
engine.close()
"""


class Walkthrough:
    """One farm in a folder, and everything that was typed."""

    def __init__(self, home: Path, out: Path, toolchain: Path, redis_port: int, options: list[str]) -> None:
        self.home, self.out, self.toolchain, self.options = home, out, toolchain, options
        self.env = {
            **os.environ,
            "FARM_HOME": str(home),
            "FARM_BROKER_URL": f"redis://127.0.0.1:{redis_port}/0",
            "FARM_LEASE_S": "10",
        }
        self.transcript = (out / "transcript.txt").open("w")

    def say(self, text: str) -> None:
        """To the screen and the transcript."""
        print(text, flush=True)
        self.transcript.write(text + "\n")
        self.transcript.flush()

    def farm(self, words: str, *, quiet: bool = False) -> subprocess.CompletedProcess[str]:
        """Runs the command line, as a user would."""
        begin = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *shlex.split(words)],
            cwd=ROOT, env=self.env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        self.say(f"\n$ farm {words}")
        if not quiet:
            self.say(done.stdout.rstrip())
            self.say(
                "\n".join(
                    line for line in done.stderr.splitlines() if line.startswith(("✗", "error", "hint"))
                )
            )
        self.say(f"[exit {done.returncode}, {time.perf_counter() - begin:.1f} s]")
        return done

    @contextmanager
    def worker(self) -> Iterator[subprocess.Popen[str]]:
        """A worker of the fleet, stopped at the end unless it was killed."""
        with (self.out / "worker.log").open("a") as log:
            command = [sys.executable, "-m", "cli.main", "worker", "--toolchain-python", str(self.toolchain)]
            process = subprocess.Popen(command, cwd=ROOT, env=self.env, stdout=log, stderr=log, text=True)
            try:
                self._wait(lambda: json.loads(self._quiet("workers --json") or "[]"), 60, "a live worker")
                yield process
            finally:
                if process.poll() is None:
                    process.terminate()
                    process.wait(30)

    def submit(self, model: str, path: Path, precision: str, *, wait: bool = True) -> None:
        """Submits a model with a profile of 1 to 32, tuned for 8."""
        shape = SHAPES[model]
        name = INPUT_OF[model]
        shapes = " ".join(
            f"--{k}-shapes {name}:{batch}x{shape}" for k, batch in (("min", 1), ("opt", 8), ("max", 32))
        )
        inputs = f" --inputs {ROOT / 'farm/samples/digits.npz'}" if model == "digits" else ""
        options = "".join(f" --set {option}" for option in self.options)
        self.farm(
            f"submit {path} --name {model} --gpu gpu --precision {precision} {shapes} --batch 1,8,32"
            f"{inputs}{options}{' --wait' if wait else ''}"
        )

    def kill_in_mid_build(self, path: Path) -> None:
        """A killed worker's job is finished by the next one."""
        with self.worker() as first:
            self.submit("conv3d", path, "fp16", wait=False)
            self._wait(lambda: '"build"' in self._quiet("status --json"), 60, "the build phase")
            time.sleep(1)
            self.say(f"\n$ kill -9 {first.pid}    # the worker, in mid-build")
            os.kill(first.pid, signal.SIGKILL)
            first.wait()
        with self.worker():
            self.farm("watch")
            self.farm("status --json --limit 1", quiet=True)
            found = json.loads(self._quiet("status --json --limit 1"))
            self.say(
                f"attempts of its job: {found[0]['cells'][0]['attempts']}, state {found[0]['cells'][0]['state']}"
            )

    def fetch_and_run(self, model: str) -> None:
        """What was fetched is loaded and run by TensorRT itself."""
        path = self.home / f"{model}.engine"
        self.farm(f"fetch {model} --precision fp16 --gpu gpu -o {path}")
        done = subprocess.run(
            [str(self.toolchain), "-c", RUN_ENGINE, str(path)],
            env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        self.say(f"loaded and run by TensorRT: {done.stdout.strip() or done.stderr.strip()[-500:]}")

    def keep_tables(self, models: list[str]) -> None:
        """What the farm itself exports: engines, every measurement in time, and where it all ran."""
        (self.out / "engines.txt").write_text(self._quiet("engines"))
        (self.out / "engines.json").write_text(self._quiet("engines --json"))
        history = [
            entry for model in models for entry in json.loads(self._quiet(f"history {model} --json") or "[]")
        ]
        (self.out / "history.json").write_text(json.dumps(history, indent=1))
        smi = [
            "nvidia-smi",
            "--query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit",
            "--format=csv",
        ]
        gpu = subprocess.run(smi, capture_output=True, text=True, check=False).stdout
        environment = {
            "command": shlex.join(sys.argv),
            "nvidia-smi": gpu.splitlines(),
            "python": sys.version,
            "devices": json.loads(self._quiet("devices --json")),
            "toolchains": [
                {"id": found["id"], "precisions": found["precisions"]}
                for found in json.loads(self._quiet("toolchains --json"))
            ],
        }
        (self.out / "environment.json").write_text(json.dumps(environment, indent=1))

    def _quiet(self, words: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "cli.main", *shlex.split(words)],
            cwd=ROOT, env=self.env, capture_output=True, text=True, check=False,
        ).stdout  # fmt: skip

    def _wait(self, done: Any, seconds: float, what: str) -> None:
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                self.say(f"gave up waiting for {what}")
                raise SystemExit(1)
            time.sleep(0.3)


SHAPES = {"digits": "1x8x8", "conv3d": "1x32x64x64", "resnet50": "3x224x224", "unet": "1x512x512"}


def main() -> None:
    """Parses the options and walks."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--toolchain-python", type=Path, required=True)
    ask.add_argument("--out", type=Path, required=True)
    ask.add_argument("--models", default="digits,conv3d,resnet50,unet")
    ask.add_argument("--precision", default=PRECISIONS)
    ask.add_argument("--kill", action="store_true", help="also kill a worker in mid-build")
    ask.add_argument(
        "--set", dest="options", action="append", default=[], help="a builder option for every build"
    )
    ask.add_argument("--home", type=Path, help="go on with the farm in this folder")
    args = ask.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    models = args.models.split(",")
    home = args.home or Path(tempfile.mkdtemp(prefix="farm-walkthrough-"))
    home.mkdir(parents=True, exist_ok=True)
    port = 6390
    redis = subprocess.Popen(["redis-server", "--port", str(port), "--save", ""], stdout=subprocess.DEVNULL)
    try:
        walk = Walkthrough(home, args.out, args.toolchain_python, port, args.options)
        exported = [model for model in models if model != "digits"]
        if exported:
            script = [
                sys.executable,
                str(ROOT / "examples/export_models.py"),
                str(home / "models"),
                *exported,
            ]
            begin = time.perf_counter()
            subprocess.run(script, check=True)
            walk.say(f"exported {', '.join(exported)} in {time.perf_counter() - begin:.0f} s")
        paths = {model: home / "models" / f"{model}.onnx" for model in exported}
        paths["digits"] = ROOT / "farm/samples/digits.onnx"
        walk.farm(f"doctor --toolchain-python {args.toolchain_python}")
        if args.kill and "conv3d" in paths:
            walk.kill_in_mid_build(paths["conv3d"])
        with walk.worker():
            walk.farm("workers")
            for model in models:
                walk.submit(model, paths[model], args.precision)
                walk.keep_tables(models)
            for model in models:
                walk.submit(model, paths[model], args.precision)
                walk.fetch_and_run(model)
        for model in models:
            walk.farm(f"engines {model}")
        walk.keep_tables(models)
    finally:
        redis.terminate()


if __name__ == "__main__":
    main()
