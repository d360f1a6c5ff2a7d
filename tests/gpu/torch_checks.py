"""Checks of PyTorch's baselines, and of ONNX Runtime's CUDA provider, on a real GPU; `drive_torch.py` runs them."""

from __future__ import annotations

import warnings
from contextlib import closing
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from farm.domain.methods import SETS, Method
from farm.domain.shapes import ShapeRange
from farm.domain.targets import DeviceKind
from workers.toolchains import load_toolchain
from workers.toolchains.toolchain import BuildInput

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from workers.toolchains.toolchain import LoadedEngine

BATCH = 64
PROFILE = {"x": ShapeRange((1, 3, 64, 64), (BATCH, 3, 64, 64), (BATCH, 3, 64, 64))}
IMAGE = np.random.default_rng(0).standard_normal((BATCH, 3, 64, 64)).astype(np.float32)
#: Greatest error as a share of the largest value, against PyTorch on the CPU in FP32: by the mantissa's bits
#: (23, 10, 10, 7), with room for 20 layers.
TOLERANCES = {"fp32": 5e-5, "tf32": 2e-2, "fp16": 2e-2, "bf16": 1e-1}


class Skipped(Exception):  # noqa: N818 - no error
    """Why a check can not be made here."""


class Net(torch.nn.Module):
    """Convolutions large enough that a GPU's tensor cores tell, and positions that the model makes by itself."""

    def __init__(self) -> None:
        super().__init__()
        widths = [3, *[256] * 5]
        layers: list[Any] = []
        for before, after in pairwise(widths):
            layers += [
                torch.nn.Conv2d(before, after, 3, padding=1),
                torch.nn.BatchNorm2d(after),
                torch.nn.ReLU(),
            ]
        self.layers = torch.nn.Sequential(*layers)
        self.fc = torch.nn.Linear(256, 512)

    def forward(self, x: Any) -> Any:
        """Features, and the same with their positions added."""
        # Of one place: a mean over a picture would average the errors away.
        scores = self.fc(self.layers(x)[:, :, 8, 8])
        return scores, scores + torch.arange(scores.shape[1], device=scores.device)


def program(folder: Path) -> tuple[Path, list[Any]]:
    """A program with a dynamic batch, and what it computes on the CPU."""
    torch.manual_seed(0)
    model = Net().eval()
    path = folder / "program.pt2"
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        open_batch = {"x": {0: torch.export.Dim.DYNAMIC}}
        made = torch.export.export(
            model, (torch.from_numpy(IMAGE[:2]),), dynamic_shapes=open_batch, strict=False
        )
        torch.export.save(made, path)
        return path, [leaf.numpy() for leaf in model(torch.from_numpy(IMAGE))]


def loaded(folder: Path, path: Path, toolchain: str, precision: str, **options: Any) -> LoadedEngine:
    """An engine of a program, built and loaded."""
    made = load_toolchain(toolchain)
    build = BuildInput(path, folder / "engine", precision, options, (PROFILE,))
    made.build(build, lambda _share, _message: None)
    return made.load(build.engine_path)


def errors(engine: LoadedEngine, expected: list[Any]) -> list[float]:
    """Of every output the greatest error, as a share of its largest value."""
    found = list(engine.infer({"x": IMAGE}).values())
    assert len(found) == len(expected), f"{len(found)} outputs where the model has {len(expected)}"
    return [
        float(np.abs(one - other).max() / np.abs(other).max())
        for one, other in zip(found, expected, strict=True)
    ]


def description(_folder: Path) -> dict[str, Any]:
    """What is installed is known without importing it, and is right."""
    told = {}
    for name in ("torch", "torch-compile", "torchscript"):
        found = load_toolchain(name).describe()
        wanted = f"cu{str(torch.version.cuda).replace('.', '')}"
        assert found.serves is DeviceKind.GPU, (
            f"{name} serves {found.serves}, and torch.cuda says there is a GPU"
        )
        assert found.id.variant == wanted, f"{name} is {found.id.slug}, torch says {wanted}"
        assert found.supported_precisions == ("fp32", "tf32", "fp16", "bf16"), found.supported_precisions
        told[name] = found.id.slug
    return told


def precisions(folder: Path) -> dict[str, Any]:
    """Every way computes what the model computes; TF32 is off in fp32 and on in tf32."""
    path, expected = program(folder)
    told: dict[str, Any] = {}
    for toolchain in ("torch", "torchscript"):
        for precision, tolerance in TOLERANCES.items():
            for channels_last in (False, True):
                options = {"channels_last": True} if channels_last else {}
                with closing(loaded(folder, path, toolchain, precision, **options)) as engine:
                    found = errors(engine, expected)
                told[f"{toolchain} {precision} {'nhwc' if channels_last else 'nchw'}"] = [
                    f"{e:.2g}" for e in found
                ]
                assert found[0] <= tolerance, (
                    f"{toolchain} {precision}: {found}, at most {tolerance}; so far {told}"
                )
                is_exact = precision == "fp32"
                assert is_exact or found[0] > TOLERANCES["fp32"], (
                    f"{toolchain} {precision} is as exact as fp32 ({found[0]:.2g}): is it on at all? {told}"
                )
    return told


def compiled(folder: Path) -> dict[str, Any]:
    """torch.compile on the GPU, at the shapes of the build and at others."""
    path, expected = program(folder)
    told: dict[str, Any] = {}
    for precision, options in (("fp32", {}), ("fp16", {}), ("fp16", {"mode": "REDUCE-OVERHEAD"})):
        with closing(loaded(folder, path, "torch-compile", precision, **options)) as engine:
            found = errors(engine, expected)
            one = engine.infer({"x": IMAGE[:1]})
            told[f"{precision} {options}"] = [f"{e:.2g}" for e in found]
            assert found[0] <= TOLERANCES[precision], f"{precision}: {found}; so far {told}"
            assert next(iter(one.values())).shape[0] == 1
            told[f"{precision} {options} ms"] = round(median_ms(engine, Method(transfers=False)), 3)
    return told


def median_ms(engine: Any, method: Method, count: int = 50) -> float:
    """The median of compute by a method."""
    for session in engine.sessions_by([{"x": IMAGE}], [method]):
        session.iterate_many(10)
        return float(np.median(session.iterate_many(count)[:, 1]))
    raise AssertionError("no session")


def timing(folder: Path) -> dict[str, Any]:
    """Events agree with the host's clock, transfers are as large as what is moved, and AMP is faster."""
    path, _ = program(folder)
    told: dict[str, Any] = {}
    medians: dict[str, float] = {}
    for precision in ("fp32", "tf32", "fp16", "bf16"):
        with closing(loaded(folder, path, "torch", precision)) as engine:
            inputs = [{"x": IMAGE}, {"x": IMAGE[::-1].copy()}]
            sessions = engine.sessions_by(inputs, SETS["farm"])  # type: ignore[attr-defined]
            for session in sessions:
                session.iterate_many(10)
                times = np.asarray(session.iterate_many(50))
                h2d, compute, d2h = np.median(times, axis=0)
                burst_ms = 1000 * session.burst(50) / 50
                told[f"{precision} {session.method}"] = [
                    round(float(v), 4) for v in (h2d, compute, d2h, burst_ms)
                ]
                assert 0.7 < burst_ms / compute < 1.3, (
                    f"events say {compute} ms, the host's clock {burst_ms} ms: {told}"
                )
                assert (h2d > 0 and d2h > 0) == session.method.transfers, told
                if session.method.transfers:
                    gigabytes_per_s = IMAGE.nbytes / h2d / 1e6
                    assert 2 < gigabytes_per_s < 200, (
                        f"H2D at {gigabytes_per_s:.1f} GB/s: is it pinned? {told}"
                    )
                else:
                    medians[precision] = float(compute)
    assert medians["fp16"] < 0.8 * medians["fp32"], f"AMP is not faster than FP32 without TF32: {medians}"
    assert medians["tf32"] < 0.9 * medians["fp32"], f"TF32 is not faster than FP32: is it on? {medians}"
    return told


def memory(folder: Path) -> dict[str, Any]:
    """A closed engine leaves nothing on the GPU."""
    path, _ = program(folder)
    before = torch.cuda.memory_allocated()
    engine = loaded(folder, path, "torch", "fp32")
    for session in engine.sessions_by([{"x": IMAGE}], [Method()]):  # type: ignore[attr-defined]
        session.iterate()
        session.close()
    during = torch.cuda.memory_allocated()
    engine.close()
    del engine, session
    import gc

    gc.collect()
    after = torch.cuda.memory_allocated()
    assert during > before, "nothing was on the GPU"
    assert after - before < 1 << 20, f"{after - before} bytes are left on the GPU"
    return {"during": during, "after": after}


def onnxruntime_cuda(folder: Path) -> dict[str, Any]:
    """ONNX Runtime's CUDA provider computes the same, and is timed by the farm's own events."""
    try:
        made = load_toolchain("onnxruntime-cuda")
    except ImportError as error:
        raise Skipped(str(error)) from error
    path, expected = program(folder)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ranges = {"x": {0: torch.export.Dim.DYNAMIC}}
        model = folder / "model" / "model.onnx"
        model.parent.mkdir()
        source = torch.export.load(path).module()
        torch.onnx.export(
            source, (torch.from_numpy(IMAGE[:2]),), str(model), dynamo=True, dynamic_shapes=ranges
        )
    told: dict[str, Any] = {"id": made.describe().id.slug}
    for precision in ("fp32", "tf32"):
        build = BuildInput(model, folder / f"engine-{precision}", precision, {}, (PROFILE,))
        made.build(build, lambda _share, _message: None)
        with closing(made.load(build.engine_path)) as engine:
            found = errors(engine, expected)
            told[precision] = [f"{e:.2g}" for e in found]
            assert found[0] <= TOLERANCES[precision], told
            for session in engine.sessions_by([{"x": IMAGE}], SETS["farm"]):  # type: ignore[attr-defined]
                session.iterate_many(10)
                times = np.median(session.iterate_many(50), axis=0)
                burst_ms = 1000 * session.burst(50) / 50
                told[f"{precision} {session.method}"] = [round(float(v), 4) for v in (*times, burst_ms)]
                assert 0.7 < burst_ms / times[1] < 1.3, f"events and the host's clock differ: {told}"
    return told


CHECKS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "description": description,
    "precisions": precisions,
    "timing": timing,
    "memory": memory,
    "compiled": compiled,
    "onnxruntime-cuda": onnxruntime_cuda,
}
