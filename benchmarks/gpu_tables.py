"""The tables that everybody publishes, on a GPU host, by the command line alone.

    python benchmarks/gpu_tables.py --toolchain-python /opt/trt86/bin/python --toolchain-python python3 --out results

ResNet-50 at batch 1 to 128 and a U-Net 1x512x512 at batch 1, 4 and 8: PyTorch, PyTorch AMP, ONNX Runtime on the CPU, TensorRT in
TF32, FP16 and INT8, INT8 with samples and without; accuracy beside each. One of the interpreters has TensorRT, one
PyTorch; the farm's own has PyTorch to export. Writes the report in every form, and the commands.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.gpu_farm import ROOT, GpuFarm, say
from benchmarks.provenance import provenance

SOURCE = ROOT / "examples/export_models.py"
#: Of each model: input, its shape without the batch, batches, and the numbers of samples that runtimes are told for.
MODELS = {
    "resnet50": ("input", "3x224x224", "1,8,16,32,64,128", ""),
    "unet": ("image", "1x512x512", "1,4,8", "1000,10000"),
}
BASELINES = {"gpu": "torch,torch-tf32,torch-amp", "cpu": "ort-cpu"}
#: What is asked for beside the baselines: a name, and the options.
CELLS = {
    "plain": "--precision {precisions}",
    "int8": "--precision int8 --calibration {samples} --calibration-batch 8",
    "int8-random": "--precision int8 --calibration random --calibration-batch 8",
}


def submissions(args: argparse.Namespace, model: str) -> dict[str, str]:
    """The words of each submission of a model."""
    name, shape, batches, _ = MODELS[model]
    folder: Path = args.models
    common = (
        f"submit {SOURCE}:{model} --input {name}=1x{shape} --dynamic batch --name {model} "
        f"--toolchain {args.toolchain} --batch {args.batches or batches} --inputs {folder / f'{model}-inputs.npz'} "
        # Weights are random: what an engine computes is told, and held against nothing.
        "--threshold min_cosine=-1"
    )
    options = "".join(f" --set {option}" for option in args.options)
    found = {
        kind: f"{common} --gpu {args.gpu}{options} {words.format(samples=folder / f'{model}-samples.npz', precisions=args.precisions)}"
        for kind, words in CELLS.items()
        if kind in args.kinds.split(",")
    }
    if args.baseline and "plain" in found:
        found["plain"] += f" --baseline {args.baseline}"
    if args.cpu_baseline:
        found["cpu"] = f"{common.replace(args.toolchain, 'onnxruntime')} --gpu cpu --precision fp32"
    return found


def main() -> None:
    """Parses the options, submits, waits, reports."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--toolchain-python", type=Path, action="append", required=True)
    ask.add_argument(
        "--models", type=Path, required=True, help="folder with NAME-samples.npz, NAME-inputs.npz"
    )
    ask.add_argument("--out", type=Path, required=True)
    ask.add_argument("--gpus", type=int, default=1)
    ask.add_argument("--only", default=",".join(MODELS))
    ask.add_argument("--kinds", default=",".join(CELLS))
    ask.add_argument("--gpu", default="gpu")
    ask.add_argument("--toolchain", default="tensorrt")
    ask.add_argument("--precisions", default="tf32,fp16")
    ask.add_argument("--batches", default="", help="instead of each model's own")
    ask.add_argument("--baseline", default=BASELINES["gpu"])
    ask.add_argument("--no-cpu-baseline", dest="cpu_baseline", action="store_false")
    ask.add_argument("--limit-s", type=float, default=1500)
    ask.add_argument("--redis-port", type=int, default=6392)
    ask.add_argument("--home", type=Path, help="go on with the farm in this folder")
    ask.add_argument("--set", dest="options", action="append", default=[], help="a builder option")
    args = ask.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    farm = GpuFarm(args.home or Path(tempfile.mkdtemp(prefix="farm-tables-")), args.redis_port)
    begin = time.perf_counter()
    devices = [*map(str, range(args.gpus)), *(["cpu"] if args.cpu_baseline or not args.gpus else [])]
    with farm.running(devices, args.toolchain_python, args.out / "worker.log"):
        ids = {
            f"{model} {kind}": farm.submit(words)
            for model in args.only.split(",")
            for kind, words in submissions(args, model).items()
        }
        say(f"{len(ids)} submissions in {time.perf_counter() - begin:.0f} s")
        states = farm.wait({name: one for name, one in ids.items() if one}, args.limit_s)
        say(json.dumps(states))
        for model in args.only.split(","):
            report(farm, args.out, model)
        (args.out / "failures.txt").write_text(farm.run("failures"))
    document = {
        **provenance("python benchmarks/gpu_tables.py", ["celery", "sqlalchemy"], "--out"),
        "wall_s": round(time.perf_counter() - begin),
        "states": states,
        "commands": farm.commands,
    }
    (args.out / "tables.json").write_text(json.dumps(document, indent=1))


def report(farm: GpuFarm, out: Path, model: str) -> None:
    """Everything that was measured of a model, in every form."""
    samples = MODELS[model][3]
    words = f"report {model}" + (f" --samples {samples}" if samples else "")
    for form in ("markdown", "csv", "json"):
        (out / f"{model}.{form}").write_text(farm.run(f"{words} --{form}"))
    farm.run(f"{words} --html {out / f'{model}.html'} --png {out}")


if __name__ == "__main__":
    sys.exit(main())
