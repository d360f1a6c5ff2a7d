"""Every precision of five models on a GPU host, three times over: cold, with caches, and answered from the store.

    python benchmarks/gpu_matrix.py --toolchain-python /opt/trt86/bin/python --gpus 4 --models MODELS --out results

MODELS has NAME.onnx, NAME-samples.npz and NAME-inputs.npz, as `examples/export_models.py --samples 64` and
`examples/export_bert.py` write them; the digits come with the farm. Everything is asked for by the command line: FP32,
TF32, FP16, and INT8 by each of entropy and minmax with samples, and without. The second time the same cells are asked
for under another salt, so that all is built again with the timing and calibration caches of the first; the third time as
the first, so that nothing is. Writes what `farm engines` and `farm history` say, and the seconds of every build.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.gpu_farm import ROOT, GpuFarm, say
from benchmarks.provenance import provenance

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Of every model: its inputs' shapes without the batch. Batches 1 to 128, tuned for 8.
SHAPES = {
    "digits": {"image": "1x8x8"},
    "resnet50": {"input": "3x224x224"},
    "unet": {"image": "1x512x512"},
    "conv3d": {"volume": "1x32x64x64"},
    "bert": {"input_ids": "128", "attention_mask": "128"},
}
#: Beyond it a model has tensors of 2^31 elements, of which TensorRT 8 dies: the U-Net joins 128 channels of 512x512.
LARGEST = {"unet": 32}
#: Lengths that a BERT takes beside the one that it is tuned for.
BERT_LENGTHS = ("16", "128", "384")
#: What is asked for of each model: a name for it, and the options.
CELLS = {
    "plain": "--precision fp32,tf32,fp16",
    "entropy": "--precision int8 --calibration {samples} --calibration-algorithm entropy",
    "minmax": "--precision int8 --calibration {samples} --calibration-algorithm minmax",
    "random": "--precision int8 --calibration random",
}
#: Of these, no two cells of a model share builder flags.
FIRST_KINDS = ("plain", "entropy")


class Matrix:
    """What is asked of one farm on one host."""

    def __init__(self, args: argparse.Namespace, farm: GpuFarm) -> None:
        self.args = args
        self.farm = farm

    def submissions(self, salt: str) -> Iterator[tuple[str, str, str]]:
        """Model, kind of cells, and the words of each submission.

        What shares builder flags shares a timing cache, and TensorRT 8 can not combine what two builds measured at
        once: so one kind of INT8 goes first, for all models, and the others find its cache.
        """
        kinds = self.args.kinds.split(",")
        first = [kind for kind in kinds if kind in FIRST_KINDS]
        later = [kind for kind in kinds if kind not in FIRST_KINDS]
        for model, asked in [(m, some) for some in (first, later) for m in self.args.only.split(",")]:
            path, samples, inputs = self.files(model)
            largest = min(self.args.largest, LARGEST.get(model, self.args.largest))
            batches = sorted({min(int(batch), largest) for batch in self.args.batches.split(",")})
            ranges = [
                f"--{word}-shapes {shapes_of(model, place, batch)}"
                for place, (word, batch) in enumerate((("min", 1), ("opt", 8), ("max", largest)))
            ]
            for kind in asked:
                words = [
                    f"submit {path} --name {model} --gpu gpu --toolchain tensorrt",
                    *ranges,
                    f"--batch {','.join(map(str, batches))} --inputs {inputs}",
                    # Weights are random: what an engine computes is told, and held against nothing.
                    f"--duration-ms {self.args.duration_ms} --threshold min_cosine=-1",
                    CELLS[kind].format(samples=samples),
                    *(["--calibration-batch 8"] if "--calibration" in CELLS[kind] else []),
                    *(f"--set {option}" for option in self.args.options),
                    *([f"--salt {salt}"] if salt else []),
                ]
                yield model, kind, " ".join(words)

    def files(self, model: str) -> tuple[Path, Path, Path]:
        """The model, what to calibrate with, what to verify with."""
        if model == "digits":
            folder = ROOT / "farm/samples"
            return folder / "digits.onnx", folder / "digits.npz", folder / "digits.npz"
        folder = self.args.models
        return folder / f"{model}.onnx", folder / f"{model}-samples.npz", folder / f"{model}-inputs.npz"

    def ask(self, salt: str) -> dict[str, Any]:
        """Submits everything and waits: how long it took, and what became of it."""
        begin = time.perf_counter()
        ids = {f"{model} {kind}": self.farm.submit(words) for model, kind, words in self.submissions(salt)}
        submitted_s = time.perf_counter() - begin
        say(f"{len(ids)} submissions in {submitted_s:.1f} s")
        states = self.farm.wait({what: one for what, one in ids.items() if one}, self.args.limit_s)
        took = time.perf_counter() - begin
        say(f"round {salt or 'one'}: {took:.0f} s")
        return {
            "salt": salt,
            "wall_s": round(took, 1),
            "submitted_s": round(submitted_s, 2),
            "states": states,
        }


def shapes_of(model: str, place: int, batch: int) -> str:
    """The words for all inputs of a model: the smallest, middle or largest."""
    lengths = {
        name: BERT_LENGTHS[place] if model == "bert" else shape for name, shape in SHAPES[model].items()
    }
    return ",".join(f"{name}:{batch}x{shape}" for name, shape in lengths.items())


def build_seconds(engines: list[dict[str, Any]]) -> dict[str, Any]:
    """Seconds of the builds by round, and how many times faster the second was."""
    rounds: dict[str, dict[str, float]] = {"": {}, "warm": {}}
    for engine in engines:
        spec = engine["spec"]
        kind = spec["builder_config"].get("calibration_algorithm", "")
        mark = "random" if (spec.get("calibration") or {}).get("data") == "random" else kind
        rounds.setdefault(spec["salt"], {})[f"{engine['model']} {spec['precision']} {mark}".strip()] = engine[
            "build_s"
        ]
    both = sorted(set(rounds[""]) & set(rounds["warm"]))
    return {
        "cold_s": {name: round(rounds[""][name], 1) for name in both},
        "warm_s": {name: round(rounds["warm"][name], 1) for name in both},
        "sum_cold_s": round(sum(rounds[""][name] for name in both), 1),
        "sum_warm_s": round(sum(rounds["warm"][name] for name in both), 1),
        "times_faster": round(
            sum(rounds[""][name] for name in both) / (sum(rounds["warm"][name] for name in both) or 1), 2
        ),
    }


def main() -> None:
    """Parses the options and goes round three times."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--toolchain-python", type=Path, required=True)
    ask.add_argument("--models", type=Path, required=True)
    ask.add_argument("--out", type=Path, required=True)
    ask.add_argument("--gpus", type=int, default=1)
    ask.add_argument("--only", default=",".join(SHAPES))
    ask.add_argument("--kinds", default=",".join(CELLS))
    ask.add_argument("--batches", default="1,8,32,128")
    ask.add_argument("--largest", type=int, default=128)
    ask.add_argument("--duration-ms", type=int, default=500)
    ask.add_argument("--rounds", type=int, default=3)
    ask.add_argument("--limit-s", type=float, default=1500)
    ask.add_argument("--redis-port", type=int, default=6391)
    ask.add_argument("--home", type=Path, help="go on with the farm in this folder")
    ask.add_argument(
        "--set", dest="options", action="append", default=[], help="a builder option for every build"
    )
    args = ask.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    home = args.home or Path(tempfile.mkdtemp(prefix="farm-matrix-"))
    farm = GpuFarm(home, args.redis_port)
    matrix, rounds = Matrix(args, farm), []
    with farm.running(list(map(str, range(args.gpus))), [args.toolchain_python], args.out / "worker.log"):
        for salt in ("", "warm", "")[: args.rounds]:
            rounds.append(matrix.ask(salt))
            keep(matrix, args, rounds)


def keep(matrix: Matrix, args: argparse.Namespace, rounds: list[dict[str, Any]]) -> None:
    """Writes what there is so far: a host may be taken away."""
    engines = json.loads(matrix.farm.run("engines --json") or "[]")
    (args.out / "engines.json").write_text(json.dumps(engines))
    (args.out / "engines.txt").write_text(matrix.farm.run("engines"))
    (args.out / "failures.txt").write_text(matrix.farm.run("failures"))
    document = {
        **provenance("python benchmarks/gpu_matrix.py", ["celery", "sqlalchemy"], "--out"),
        "rounds": rounds,
        "builds": build_seconds(engines),
        "commands": matrix.farm.commands,
    }
    (args.out / "matrix.json").write_text(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
