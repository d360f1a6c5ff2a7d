"""Export three larger models to ONNX, with seeded random weights, to build and time engines from.

    python examples/export_models.py OUT_DIR                             # all three
    python examples/export_models.py OUT_DIR unet conv3d --time-torch    # some; times PyTorch on the GPU too
    python examples/export_models.py OUT_DIR --samples 64                # MODEL-samples.npz and MODEL-inputs.npz beside

| model    | input                  | output                 | parameters |
|----------|------------------------|------------------------|------------|
| resnet50 | input  Nx3x224x224     | logits Nx1000          | 25.6 M     |
| unet     | image  Nx1x512x512     | mask   Nx2x512x512     | 31.0 M     |
| conv3d   | volume Nx1x32x64x64    | scores Nx10            | 1.2 M      |

Needs PyTorch, ONNX, ONNX Runtime (each file is compared with PyTorch) and, for resnet50, torchvision;
downloads nothing; prints a line of JSON for each model. Opset 17: TensorRT 8.6 reads no later one.

The BatchNorm statistics are measured on seeded noise, coarse and fine, so that activations neither
vanish nor overflow FP16. Another CPU or PyTorch may give other last digits, so another model digest:
export once and submit that file everywhere. TensorRT-RTX builds resnet50 (Gemm) and conv3d for
compute capability 8.0 and later only: it has no FP32 kernels of either for 7.5.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn import functional

SEED = 20240817
OPSET = 17
CALIBRATION_PASSES = 3
LARGEST_ACTIVATION = 1000.0  # FP16 ends at 65504
TIMED_BATCHES = (1, 8, 32)
WARM_UPS, ITERATIONS = 10, 50


def _double_conv(before: int, after: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """The classic U-Net with padded convolutions and BatchNorm."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        widths = (64, 128, 256, 512, 1024)
        self.down = nn.ModuleList(_double_conv(*pair) for pair in pairwise((1, *widths)))
        self.pool = nn.MaxPool2d(2)
        pairs = list(pairwise(reversed(widths)))
        self.widen = nn.ModuleList(nn.ConvTranspose2d(*pair, kernel_size=2, stride=2) for pair in pairs)
        self.up = nn.ModuleList(_double_conv(*pair) for pair in pairs)
        self.head = nn.Conv2d(widths[0], classes, kernel_size=1)

    def forward(self, image: Tensor) -> Tensor:
        skips: list[Tensor] = [self.down[0](image)]
        for block in self.down[1:]:
            skips.append(block(self.pool(skips[-1])))
        features = skips.pop()
        for widen, block in zip(self.widen, self.up, strict=True):
            features = block(torch.cat([skips.pop(), widen(features)], dim=1))
        mask: Tensor = self.head(features)
        return mask


class VolumeClassifier(nn.Module):
    """A classifier of volumes."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise((1, 32, 64, 128, 256)):
            layers += [nn.Conv3d(before, after, 3, padding=1, bias=False), nn.BatchNorm3d(after)]
            layers += [nn.ReLU(), nn.MaxPool3d(2)]
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool3d(1)
        self.head = nn.Linear(256, classes)

    def forward(self, volume: Tensor) -> Tensor:
        scores: Tensor = self.head(self.pool(self.features(volume)).flatten(1))
        return scores


def _resnet50() -> nn.Module:
    from torchvision.models import resnet50

    model: nn.Module = resnet50(weights=None)
    return model


@dataclass(frozen=True)
class Example:
    build: Callable[[], nn.Module]
    input_name: str
    output_name: str
    shape: tuple[int, ...]  # of one item
    calibration_batch: int

    def batch(self, count: int, seed: int) -> Tensor:
        """Noise of variance 1 in blocks of several sizes, the largest a whole item, as images have."""
        generator = torch.Generator().manual_seed(seed)
        channels, *sides = self.shape
        batch = torch.zeros(count, *self.shape)
        for block in (1, 4, 16, max(sides)):
            coarse = [max(1, side // block) for side in sides]
            noise = torch.randn(count, channels, *coarse, generator=generator)
            batch += functional.interpolate(noise, size=sides) / 2
        return batch


EXAMPLES = {
    "resnet50": Example(_resnet50, "input", "logits", (3, 224, 224), calibration_batch=8),
    "unet": Example(UNet, "image", "mask", (1, 512, 512), calibration_batch=2),
    "conv3d": Example(VolumeClassifier, "volume", "scores", (1, 32, 64, 64), calibration_batch=4),
}


@torch.no_grad()
def settle(model: nn.Module, example: Example) -> nn.Module:
    """Give every BatchNorm the statistics of a few seeded batches, and centre the scores of each class
    so that no class wins always. The model comes back in evaluation mode.
    """
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            module.momentum = None  # a plain average over the passes
    model.train()
    for number in range(CALIBRATION_PASSES):
        model(example.batch(example.calibration_batch, SEED + number))
    scores = model.eval()(example.batch(example.calibration_batch, SEED)).transpose(0, 1)
    head: Any = list(model.children())[-1]
    head.bias -= scores.flatten(1).mean(1)
    return model


@torch.no_grad()
def largest_activation(model: nn.Module, example: Example) -> float:
    """The largest magnitude that any layer puts out for unseen seeded noise; infinite if not finite."""
    peaks: list[float] = []

    def note(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        peaks.append(output.abs().max().item() if output.isfinite().all() else float("inf"))

    handle = nn.modules.module.register_module_forward_hook(note)
    model(example.batch(1, SEED + 100))
    handle.remove()
    return max(peaks)


def export(model: nn.Module, example: Example, path: Path) -> None:
    names = (example.input_name, example.output_name)
    torch.onnx.export(
        model,
        (example.batch(1, SEED),),
        str(path),
        input_names=names[:1],
        output_names=names[1:],
        dynamic_axes={name: {0: "batch"} for name in names},
        opset_version=OPSET,
        do_constant_folding=True,
        dynamo=False,
    )


@torch.no_grad()
def difference_from_onnxruntime(model: nn.Module, example: Example, path: Path) -> float:
    """The largest absolute difference over a batch of two."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = example.batch(2, SEED + 200)
    (found,) = session.run(None, {example.input_name: inputs.numpy()})
    return float((torch.from_numpy(found) - model(inputs)).abs().max())


def time_torch(model: nn.Module, example: Example) -> dict[str, Any]:
    """Median milliseconds of PyTorch eager on the GPU, inputs already there, by precision and batch.

    `amp_fp16` is autocast, its weights cast once. cuDNN picks its fastest algorithm; layout is NCHW.
    """
    torch.backends.cudnn.benchmark = True
    model = model.cuda()
    medians: dict[str, dict[int, float]] = {}
    for precision in ("fp32", "tf32", "amp_fp16"):
        torch.backends.cuda.matmul.allow_tf32 = precision != "fp32"
        torch.backends.cudnn.allow_tf32 = precision != "fp32"
        medians[precision] = {}
        for count in TIMED_BATCHES:
            inputs = example.batch(count, SEED).cuda()
            with torch.no_grad(), torch.autocast("cuda", torch.float16, enabled=precision == "amp_fp16"):
                medians[precision][count] = round(_median_ms(model, inputs), 4)
    return {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "median_ms": medians}


def _median_ms(model: nn.Module, inputs: Tensor) -> float:
    for _ in range(WARM_UPS):
        model(inputs)
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(ITERATIONS + 1)]  # type: ignore[no-untyped-call]
    marks[0].record()
    for mark in marks[1:]:
        model(inputs)
        mark.record()
    torch.cuda.synchronize()
    return float(statistics.median(start.elapsed_time(end) for start, end in pairwise(marks)))


def resnet50() -> nn.Module:
    """ResNet-50 with seeded random weights, for `farm submit examples/export_models.py:resnet50`."""
    return _seeded("resnet50")


def unet() -> nn.Module:
    """The U-Net with seeded random weights."""
    return _seeded("unet")


def _seeded(name: str) -> nn.Module:
    torch.manual_seed(SEED)
    return settle(EXAMPLES[name].build(), EXAMPLES[name])


def make(name: str, folder: Path, *, time_it: bool, samples: int) -> dict[str, Any]:
    example, path = EXAMPLES[name], folder / f"{name}.onnx"
    model = _seeded(name)
    peak = largest_activation(model, example)
    if peak > LARGEST_ACTIVATION:
        raise SystemExit(f"{name}: an activation reaches {peak:.3g}, too near to the end of FP16")
    started = time.perf_counter()
    export(model, example, path)
    made: dict[str, Any] = {
        "model": name,
        "path": str(path),
        "export_s": round(time.perf_counter() - started, 2),
        "size_bytes": path.stat().st_size,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "largest_activation": round(peak, 3),
        "difference_from_onnxruntime": difference_from_onnxruntime(model, example, path),
    }
    if samples:
        # Others than the ones that the statistics were measured on, and others than those it is tried with.
        for what, count, seed in (("samples", samples, SEED + 300), ("inputs", 8, SEED + 400)):
            np.savez(
                folder / f"{name}-{what}.npz", **{example.input_name: example.batch(count, seed).numpy()}
            )
    if time_it:
        made["pytorch"] = time_torch(model, example) if torch.cuda.is_available() else None
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description="Export example models to ONNX.")
    parser.add_argument("folder", type=Path, metavar="OUT_DIR")
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"{', '.join(EXAMPLES)}; default: all")
    parser.add_argument("--time-torch", action="store_true", help="time PyTorch on the GPU as well")
    parser.add_argument("--samples", type=int, default=0, help="also write so many samples to calibrate with")
    arguments = parser.parse_args()
    if unknown := set(arguments.models) - set(EXAMPLES):
        parser.error(f"no such model: {', '.join(sorted(unknown))}; choose from {', '.join(EXAMPLES)}")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.models or EXAMPLES:
        print(
            json.dumps(make(name, arguments.folder, time_it=arguments.time_torch, samples=arguments.samples)),
            flush=True,
        )


if __name__ == "__main__":
    main()
