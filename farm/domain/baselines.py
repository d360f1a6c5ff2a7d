"""Baselines: what a user would run in place of an engine, measured beside it under a word such as `torch-amp`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Iterable, Mapping

from farm.domain.errors import InvalidSpecError
from farm.domain.suggestions import did_you_mean
from farm.domain.targets import DeviceKind

if TYPE_CHECKING:
    from farm.domain.specs import BuildSpec

#: Toolchains of PyTorch that run a model as it is.
TORCH = ("torch", "torch-compile", "torchscript")
ORT_CUDA = "onnxruntime-cuda"
#: Toolchains that are built for where somebody names them, and never because they happen to be there.
ONLY_BASELINES = frozenset((*TORCH, ORT_CUDA))
#: The precision by the end of a word: autocast is what PyTorch calls AMP.
_ENDINGS = {"": "fp32", "-tf32": "tf32", "-amp": "fp16", "-amp-bf16": "bf16"}


@dataclass(frozen=True)
class Baseline:
    """One thing that engines are compared with.

    Attributes:
        word: what users call it.
        toolchain: that runs it.
        precision: of its cells.
        on_cpu: whether it runs on CPUs whatever the engines are built for.
        on_gpu: whether it runs on GPUs alone.
    """

    word: str
    toolchain: str
    precision: str
    on_cpu: bool = False
    on_gpu: bool = False

    @property
    def runs_program(self) -> bool:
        """Whether it runs the PyTorch model, and not its ONNX file."""
        return self.toolchain in TORCH


BASELINES: Mapping[str, Baseline] = {
    baseline.word: baseline
    for baseline in (
        *(Baseline(name + end, name, precision) for name in TORCH for end, precision in _ENDINGS.items()),
        Baseline("ort-cpu", "onnxruntime", "fp32", on_cpu=True),
        Baseline("ort-cuda", ORT_CUDA, "fp32", on_gpu=True),
        Baseline("ort-cuda-tf32", ORT_CUDA, "tf32", on_gpu=True),
    )
}


def parse_baselines(words: Iterable[str]) -> tuple[Baseline, ...]:
    """The baselines of some words, each once, in their order.

    Raises:
        InvalidSpecError: a word is none of them.
    """
    found = []
    for word in words:
        plain = word.strip().lower()
        if plain not in BASELINES:
            raise InvalidSpecError(f"unknown baseline {word!r}", hint=did_you_mean(plain, BASELINES))
        found.append(BASELINES[plain])
    return tuple(dict.fromkeys(found))


def baseline_of(spec: BuildSpec) -> Baseline | None:
    """The baseline that an engine of a spec is; none if it is an engine like any other.

    Options and kept layers make something else of it than what its word says.
    """
    target = spec.target
    if spec.builder_config or spec.kept_layers or spec.calibration:
        return None
    for baseline in BASELINES.values():
        if (baseline.toolchain, baseline.precision) == (target.toolchain.name, spec.precision):
            is_cpu = target.device_type.kind is DeviceKind.CPU
            return baseline if is_cpu or not baseline.on_cpu else None
    return None
