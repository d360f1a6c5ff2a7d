"""Which PyTorch is installed, and whether it runs on a GPU here: found out without importing it, which takes seconds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from farm.domain.error_texts import one_line
from farm.domain.errors import BuildError, DeviceUnavailableError
from farm.domain.targets import DeviceKind, ToolchainId
from workers.toolchains.cuda_driver import require_device

#: `torch.export` with dynamic shapes as the farm's exporter writes them.
_OLDEST = (2, 6)
#: In torch/version.py, as every build of PyTorch has it: `cuda: Optional[str] = '12.8'`.
_CUDA = re.compile(r"^cuda\b[^=\n]*=\s*['\"]([\d.]+)['\"]", re.MULTILINE)


@dataclass(frozen=True)
class TorchRelease:
    """An installed PyTorch.

    Attributes:
        version: exact, without the mark of its build.
        cuda: release of CUDA that it was built with, such as `12.8`; empty for a CPU build.
        has_gpu: whether there is an NVIDIA GPU that this process may use.
    """

    version: str
    cuda: str
    has_gpu: bool

    @property
    def device(self) -> str:
        """Where it runs models, in PyTorch's word: the GPU where it can, else the CPU."""
        return "cuda" if self.serves is DeviceKind.GPU else "cpu"

    @property
    def serves(self) -> DeviceKind:
        """The kind of device that it runs models on."""
        return DeviceKind.GPU if self.cuda and self.has_gpu else DeviceKind.CPU

    def id(self, name: str) -> ToolchainId:
        """The identity of a toolchain that is this PyTorch: `torch 2.13.0`, variant `cpu` or `cu128`."""
        variant = f"cu{self.cuda.replace('.', '')}" if self.cuda else "cpu"
        return ToolchainId(name, self.version, variant)


def installed_torch() -> TorchRelease:
    """The PyTorch of this interpreter.

    Raises:
        ImportError: there is none, or it is too old.
    """
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("No module named 'torch'")
    try:
        found = version("torch").partition("+")[0]
    except PackageNotFoundError as error:
        raise ImportError(
            f"there is a folder 'torch' in {spec.origin}, and no package of that name"
        ) from error
    if tuple(int(number) for number in re.findall(r"\d+", found)[:2]) < _OLDEST:
        raise ImportError(
            f"PyTorch {found} is too old: {'.'.join(map(str, _OLDEST))} is the oldest that is taken"
        )
    facts = Path(spec.origin).with_name("version.py")
    cuda = _CUDA.search(facts.read_text()) if facts.is_file() else None
    return TorchRelease(found, cuda[1] if cuda else "", _has_gpu())


def import_torch() -> Any:
    """PyTorch itself.

    Raises:
        BuildError: it is installed, and does not load.
    """
    try:
        import torch
    except (ImportError, OSError) as error:
        raise BuildError(
            f"PyTorch is installed, but does not load: {one_line(error)}",
            hint="Try `python -c 'import torch'` in that interpreter.",
        ) from error
    return torch


def _has_gpu() -> bool:
    """Whether the driver shows this process a GPU; no context is made."""
    try:
        require_device()
    except DeviceUnavailableError:
        return False
    return True
