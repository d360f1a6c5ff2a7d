"""How much faster four GPUs can be at all: the same builds by bare processes, alone and side by side, without the farm.

    python benchmarks/gpu_bare.py --toolchain-python /opt/trt86/bin/python --gpus 4 --builds 3 --out results

A build is a fresh process that loads TensorRT, takes the timing cache of an earlier build, and builds: what the farm's
child does. `ceiling` is the speed-up of so many GPUs over one that the host itself allows; hold that of
`gpu_scaling.py` against it. `--cores` gives each its own share of the processor's cores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_BUILD = """
import sys
from pathlib import Path
from farm.domain.shapes import ShapeRange
from workers.toolchains import load_toolchain
from workers.toolchains.toolchain import BuildInput
model, folder, level = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
span = {"image": ShapeRange((8, 1, 8, 8), (8, 1, 8, 8), (8, 1, 8, 8))}
cache = folder / "cache"
load_toolchain("tensorrt").build(
    BuildInput(
        model, folder / "engine", "fp16",
        builder_config={"tactic_sources": ["-CUBLAS", "-CUBLAS_LT", "-CUDNN"], "builder_optimization_level": level},
        profiles=(span,), timing_cache_in=cache if cache.exists() else None, timing_cache_out=cache,
    ),
    lambda fraction, message: None,
)
"""


def build(args: argparse.Namespace, gpu: int, cores: list[int]) -> float:
    """Seconds of one build on a GPU."""
    folder = args.out / f"gpu{gpu}"
    folder.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    subprocess.run(
        [args.toolchain_python, "-c", _BUILD, args.model, folder, str(args.level)],
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": str(gpu)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
    )
    return time.monotonic() - begin


def side_by_side(args: argparse.Namespace, gpus: int, *, own_cores: bool) -> float:
    """The median of the builds of so many GPUs at once."""
    known = sorted(os.sched_getaffinity(0))
    share = len(known) // args.gpus

    def builds_of(gpu: int) -> list[float]:
        cores = known[gpu * share : (gpu + 1) * share] if own_cores else []
        return [build(args, gpu, cores) for _ in range(args.builds)]

    with ThreadPoolExecutor(gpus) as each:
        return statistics.median(took for found in each.map(builds_of, range(gpus)) for took in found)


def main() -> None:
    """Measures and prints."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--toolchain-python", required=True)
    ask.add_argument("--gpus", type=int, default=4)
    ask.add_argument("--builds", type=int, default=3)
    ask.add_argument("--level", type=int, default=1)
    ask.add_argument("--model", default=str(ROOT / "farm" / "samples" / "digits.onnx"))
    ask.add_argument("--out", type=Path, required=True)
    args = ask.parse_args()
    with ThreadPoolExecutor(args.gpus) as each:
        list(each.map(lambda gpu: build(args, gpu, []), range(args.gpus)))
    found = {
        "alone_s": side_by_side(args, 1, own_cores=False),
        "side_by_side_s": side_by_side(args, args.gpus, own_cores=False),
        "side_by_side_with_own_cores_s": side_by_side(args, args.gpus, own_cores=True),
    }
    ceiling = {
        f"ceiling{name.removeprefix('side_by_side').removesuffix('_s')}": args.gpus * found["alone_s"] / took
        for name, took in found.items()
        if name != "alone_s"
    }
    document = {name: round(value, 3) for name, value in {**found, **ceiling}.items()}
    print(json.dumps(document, indent=2))
    (args.out / "bare.json").write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
