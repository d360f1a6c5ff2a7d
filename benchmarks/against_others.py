"""The farm's medians beside those of others, on the same engine file, and how far ten of them spread.

    python benchmarks/against_others.py                                     # ONNX Runtime on this CPU: digits
    python benchmarks/against_others.py --model m.onnx --batch 1,32
    PYTHONPATH=. TRT_PYTHON benchmarks/against_others.py --engine resnet50.plan --batch 1,8,32   # on a GPU

On a CPU: ONNX Runtime's own loop (`session.run`, and the same with bound buffers). On a GPU: loops written by hand
with PyCUDA, and Polygraphy's TrtRunner where it is installed. Everybody measures in turn, `--repeat` times: what
drifts weighs on all alike. A line for each of the farm's methods and each of the others:

    farm ms     median of the farm's medians            other ms   the same of the other's
    ratio       farm / other                            spread     (largest - smallest) / median of the farm's, in %
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from bare_tensorrt import BareEngine, counted, polygraphy_ms, polygraphy_runner

from farm.domain.benchmarks import BenchmarkSpec
from farm.domain.methods import Method
from workers.arrays import random_inputs
from workers.child.measure import measure
from workers.toolchains import load_toolchain
from workers.toolchains.toolchain import BuildInput

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Others = dict[str, Callable[[], float]]

SPEC = BenchmarkSpec(duration_ms=500, max_duration_ms=3000)


def main() -> None:
    """Measures and prints."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--model", type=Path, help="ONNX; on the CPU [default: the digits]")
    ask.add_argument("--engine", type=Path, help="a plan of this interpreter's TensorRT, on this GPU")
    ask.add_argument("--batch", default="1,8,64")
    ask.add_argument("--repeat", type=int, default=10)
    ask.add_argument("--json", type=Path, help="also write the figures here")
    args = ask.parse_args()
    rows = []
    for batch in map(int, args.batch.split(",")):
        rows += (on_gpu if args.engine else on_cpu)(args, batch)
    print(
        f"{'batch':>5}  {'method':<20} {'farm ms':>9}  {'other':<26} {'other ms':>9} {'ratio':>7} {'spread':>7} {'± %':>6}"
    )
    for row in rows:
        print(
            f"{row['batch']:>5}  {row['method']:<20} {row['farm_ms']:>9.4f}  {row['other']:<26} {row['other_ms']:>9.4f}"
            f" {row['ratio']:>7.3f} {row['spread_percent']:>6.2f}% {row['half_width_percent']:>6.2f}"
        )
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


def on_cpu(args: argparse.Namespace, batch: int) -> list[dict[str, Any]]:
    """ONNX Runtime's own loops on the file that the farm built."""
    import onnxruntime as ort

    from farm.samples import digits_model

    with tempfile.TemporaryDirectory() as folder:
        engine = Path(folder) / "engine"
        toolchain = load_toolchain("onnxruntime")
        toolchain.build(
            BuildInput(args.model or digits_model(), engine, "fp32"), lambda fraction, message: None
        )
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = (
            ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        )  # it is optimized already
        bare = ort.InferenceSession(str(engine), options, providers=["CPUExecutionProvider"])
        with closing(toolchain.load(engine)) as live:
            feed = random_inputs(live.inputs, _shapes(live, batch), seed=0)
            binding = bare.io_binding()
            for name, array in feed.items():
                binding.bind_cpu_input(name, array)
            for output in bare.get_outputs():
                binding.bind_output(output.name)
            others: dict[Method, Others] = {
                Method(): {
                    "session.run": lambda: counted(_timed(lambda: bare.run(None, feed))),
                    "run_with_iobinding": lambda: counted(_timed(lambda: bare.run_with_iobinding(binding))),
                }
            }
            return _in_turns(args, live, feed, batch, others)


def on_gpu(args: argparse.Namespace, batch: int) -> list[dict[str, Any]]:
    """Loops by hand and Polygraphy's runner, in the same process."""
    with closing(load_toolchain("tensorrt").load(args.engine)) as live:
        feed = random_inputs(live.inputs, _shapes(live, batch), seed=0)
        plain, graph = BareEngine(args.engine, feed), BareEngine(args.engine, feed)
        graph.capture()
        runner = polygraphy_runner(args.engine)
        others: dict[Method, Others] = {
            Method(): {"PyCUDA, one by one": lambda: counted(plain.serial)},
            Method(transfers=False): {"PyCUDA, queued": lambda: counted(plain.pipelined)},
            Method(graph=True): {"PyCUDA, graph, one by one": lambda: counted(graph.serial)},
            Method(graph=True, transfers=False): {"PyCUDA, graph, queued": lambda: counted(graph.pipelined)},
        }
        if runner is not None:
            others[Method()]["Polygraphy, host's clock"] = lambda: counted(
                lambda: polygraphy_ms(runner, feed)
            )
        else:
            sys.stderr.write("Polygraphy is not installed here\n")
        try:
            return _in_turns(args, live, feed, batch, others)
        finally:
            if runner is not None:
                runner.deactivate()
            graph.close()
            plain.close()


def _in_turns(
    args: argparse.Namespace, live: Any, feed: dict[str, Any], batch: int, others: dict[Method, Others]
) -> list[dict[str, Any]]:
    farm: dict[Method, list[Any]] = {method: [] for method in others}
    found: dict[tuple[Method, str], list[float]] = {}
    for round_ in range(args.repeat):
        with closing(live.sessions_by([feed], list(others))) as sessions:
            for session in sessions:
                method = getattr(session, "method", Method())
                figures, _ = measure(
                    session, SPEC, batch, {}, lambda fraction, message: None, is_warm=round_ > 0
                )
                farm[method].append(figures)
        for method, ways in others.items():
            for name, way in ways.items():
                found.setdefault((method, name), []).append(way())
    return [
        _row(batch, method, farm[method], name, medians)
        for (method, name), medians in found.items()
        if farm[method]
    ]


def _row(
    batch: int, method: Method, farm: Sequence[Any], name: str, medians: Sequence[float]
) -> dict[str, Any]:
    # Polygraphy's clock stands around the copies too.
    kind = "latency" if name.startswith("Polygraphy") else "compute"
    own = [getattr(figures, kind).median_ms for figures in farm]
    widths = [100 * (f.interval_ms[1] - f.interval_ms[0]) / 2 / f.compute.median_ms for f in farm]
    median, other = float(np.median(own)), float(np.median(medians))
    return {
        "batch": batch,
        "method": str(method) if kind == "compute" else f"{method} (latency)",
        "farm_ms": median,
        "other": name,
        "other_ms": other,
        "ratio": median / other,
        "spread_percent": 100 * (max(own) - min(own)) / median,
        "other_spread_percent": 100 * (max(medians) - min(medians)) / other,
        "half_width_percent": float(np.median(widths)),
        "farm_medians_ms": own,
        "other_medians_ms": list(medians),
        "taints": sorted({taint.split(":")[0] for figures in farm for taint in figures.taints}),
    }


def _timed(call: Callable[[], Any]) -> Callable[[], float]:
    def iterate() -> float:
        begin = time.perf_counter_ns()
        call()
        return (time.perf_counter_ns() - begin) / 1e6

    return iterate


def _shapes(live: Any, batch: int) -> dict[str, tuple[int, ...]]:
    return {
        tensor.name: tuple(batch if size < 0 else size for size in tensor.shape) for tensor in live.inputs
    }


if __name__ == "__main__":
    main()
