"""What the farm costs beside the bare toolchain calls, in one run on one machine.

    python benchmarks/overhead.py                                   # ONNX Runtime and TensorRT-RTX on the CPU
    python benchmarks/overhead.py --toolchain tensorrt --toolchain-python /opt/trt86/bin/python --model m.onnx \
        --input input:1x3x224x224,8,32 --set tactic_sources=-CUDNN

For each toolchain, in turn and several times: a bare script that builds, verifies against ONNX Runtime
and times in one process of its own (as people do by hand), and the same through `farm submit --local`'s
machinery, from the submission to the filed engine. Prints both, the difference, the limit that it is
held to (1.5 s + 3 %), and how long a resubmission takes inside the process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from farm.bootstrap import Farm, open_farm
from farm.domain.benchmarks import BenchmarkSpec
from farm.domain.jobs import JobState
from farm.domain.work import JobRequest
from farm.samples import digits_model
from farm.services.plan import BuildRequest, plan_builds
from farm.services.progress import submission_progress
from farm.services.submit import SubmitOrder, keep_model, submit_plan
from farm.settings import read_settings
from farm.storage.model_cache import ModelCache
from farm.storage.onnx_files import read_model
from workers.agent import RunningWorker
from workers.interpreters import code_folder
from workers.machine import probe_machine
from workers.offers import choose_devices, offer_of

#: The bare script: the same calls that the farm's child makes, and nothing else.
BARE = """
import json, sys, time
from pathlib import Path
from farm.domain.accuracy_metrics import compare
from farm.domain.benchmarks import BenchmarkSpec
from farm.domain.shapes import ShapeRange
from workers.arrays import random_inputs
from workers.child.measure import measure
from workers.toolchains import load_toolchain
from workers.toolchains.toolchain import BuildInput
ask = json.loads(sys.argv[1])
folder = Path(ask["folder"])
toolchain = load_toolchain(ask["toolchain"])
profile = {name: ShapeRange(*map(tuple, shapes)) for name, shapes in ask["profile"].items()}
begin = time.perf_counter()
build = BuildInput(Path(ask["model"]), folder / "engine", ask["precision"], ask["options"], (profile,),
                   ask["capability"], None, folder / "cache")
toolchain.build(build, lambda fraction, message: None)
build_s = time.perf_counter() - begin
if ask["run"]:
    reference = load_toolchain("onnxruntime").load(Path(ask["model"]))
    inputs = random_inputs(reference.inputs, {name: span.opt for name, span in profile.items()}, 0)
    wanted = reference.infer(inputs)
    engine = toolchain.load(folder / "engine")
    actual = engine.infer(inputs)
    [compare(name, wanted[name], actual[name]) for name in wanted]
    for batch in ask["batches"]:
        shapes = {name: (batch, *span.opt[1:]) for name, span in profile.items()}
        spec = BenchmarkSpec(warmup_ms=100, duration_ms=300, precision_percent=100)
        fed, is_warm = random_inputs(reference.inputs, shapes, 0), False
        for session in engine.sessions_by([fed], spec.methods):
            measure(session, spec, batch, shapes, lambda share, text: None, is_warm=is_warm)
            is_warm = True
    engine.close()
print(json.dumps({"build_s": build_s}))
"""


def main() -> None:
    """Measures and prints."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--model", type=Path, default=digits_model())
    ask.add_argument("--toolchain", action="append", default=[])
    ask.add_argument("--toolchain-python", type=Path)
    ask.add_argument("--precision", default="fp32")
    ask.add_argument("--batch", default="1,8,32")
    ask.add_argument("--set", dest="options", action="append", default=[])
    ask.add_argument("--repeat", type=int, default=3)
    ask.add_argument("--json", type=Path, help="also write the figures here")
    args = ask.parse_args()
    results = [
        measure_toolchain(args, toolchain) for toolchain in args.toolchain or ["onnxruntime", "tensorrt-rtx"]
    ]
    for result in results:
        print(
            f"{result['toolchain']:28} bare {result['bare_s']:7.2f} s   farm {result['farm_s']:7.2f} s   "
            f"ratio {result['ratio']:.2f}   overhead {result['overhead_s']:5.2f} s of {result['limit_s']:.2f} s allowed   "
            f"resubmission {result['resubmission_ms']:.1f} ms"
        )
    if args.json:
        args.json.write_text(json.dumps(results, indent=2))


def measure_toolchain(args: argparse.Namespace, toolchain: str) -> dict[str, Any]:
    """Bare and farm in turn, `repeat` times; medians of each."""
    batches = tuple(int(batch) for batch in args.batch.split(","))
    bare_s, farm_s, resubmission_ms = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        settings = replace(read_settings(Path(folder) / "farm", {}), user="overhead")
        farm = open_farm(settings)
        pythons = [args.toolchain_python] if args.toolchain_python else []
        interpreters = probe_machine(farm, pythons)
        offers = []
        for device in choose_devices((), with_cpu=True):
            with suppress(Exception):
                offers.append(offer_of(device, interpreters))
        offer = next(o for o in offers if any(d.id.name == toolchain for d in o.descriptions))
        description = next(d for d in offer.descriptions if d.id.name == toolchain)
        target = next(t for t in reversed(offer.device_types) if description.can_serve(t))
        options = description.normalise(dict(word.split("=", 1) for word in args.options))
        model = read_model(args.model)
        with RunningWorker(farm, offer, interpreters):
            for turn in range(args.repeat):
                request = BuildRequest(
                    gpus=(target.slug,), toolchains=(toolchain,), precisions=(args.precision,), batches=batches,
                    options=options, salt=str(turn),
                )  # fmt: skip
                bare_s.append(_bare(args, offer, description, target, farm, model, options, batches))
                begin = time.perf_counter()
                _submit(farm, args.model, model, request, wait=True)
                farm_s.append(time.perf_counter() - begin)
                begin = time.perf_counter()
                _submit(
                    farm,
                    args.model,
                    ModelCache(farm.settings.home / "models").read(args.model),
                    request,
                    wait=False,
                )
                resubmission_ms.append(1000 * (time.perf_counter() - begin))
        version = str(description.id)
    bare, through = statistics.median(bare_s), statistics.median(farm_s)
    return {
        "toolchain": version,
        "device_type": target.slug,
        "model": args.model.name,
        "bare_s": bare,
        "farm_s": through,
        "ratio": through / bare,
        "overhead_s": through - bare,
        "limit_s": 1.5 + 0.03 * bare,
        "resubmission_ms": statistics.median(resubmission_ms),
        "runs": {"bare_s": bare_s, "farm_s": farm_s, "resubmission_ms": resubmission_ms},
    }


def _submit(farm: Farm, path: Path, model: Any, request: BuildRequest, *, wait: bool) -> None:
    with farm.database.reading() as transaction:
        plan = plan_builds(transaction, model, request)
    keep_model(farm.store, model, path.parent, lambda _line: None)
    job = JobRequest(benchmark=BenchmarkSpec(warmup_ms=100, duration_ms=300, precision_percent=100))
    submission = submit_plan(farm.database, model, plan, SubmitOrder(path.stem, "overhead", {}, job))
    while wait:
        with farm.database.reading() as transaction:
            progress = submission_progress(transaction, submission.id)
        if progress.is_done:
            failed = [cell.job for cell in progress.cells if cell.state is not JobState.SUCCEEDED]
            if failed:
                raise SystemExit(f"the farm's build failed: {failed[0] and failed[0].failure}")
            return
        time.sleep(0.02)


def _bare(
    args: argparse.Namespace, offer: Any, description: Any, target: Any, farm: Farm, model: Any,
    options: dict[str, Any], batches: tuple[int, ...],
) -> float:  # fmt: skip
    sizes = sorted(batches)
    profile = {
        tensor.name: [[batch, *tensor.shape[1:]] for batch in (sizes[0], sizes[len(sizes) // 2], sizes[-1])]
        for tensor in model.inputs
    }
    with tempfile.TemporaryDirectory() as folder:
        ask = {
            "folder": folder,
            "toolchain": description.id.name,
            "model": str(args.model),
            "precision": args.precision,
            "options": options,
            "profile": profile,
            "capability": target.compute_capability,
            "run": target.kind.value != "compute-capability",
            "batches": list(batches),
        }
        code = code_folder(farm.settings.scratch)
        begin = time.perf_counter()
        subprocess.run(
            [str(offer.toolchains[description.id]), "-c", BARE, json.dumps(ask)],
            env={"PYTHONPATH": str(code), "PATH": "/usr/bin:/bin"}, check=True, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        return time.perf_counter() - begin


if __name__ == "__main__":
    sys.exit(main())
