"""The precisions of a PyTorch model that nobody changes: TF32 on or off, and autocast (AMP)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farm.domain.precisions import PRECISIONS
from farm.domain.targets import DeviceKind

if TYPE_CHECKING:
    from workers.toolchains.torch_release import TorchRelease

_AUTOCAST = {"fp16": "float16", "bf16": "bfloat16"}
_QUANTIZED = "PyTorch runs a model in the types that it has, and nobody has put 8 bits into this one"


def precisions_of(release: TorchRelease) -> dict[str, str]:
    """Each known precision with an empty text, or with the reason why it is not done."""
    reasons = {
        "fp32": "",
        "tf32": "" if release.serves is DeviceKind.GPU else "a CPU has no TF32; nearest: fp32",
        **dict.fromkeys(_AUTOCAST, ""),
        "best": "PyTorch takes one type for what is not FP32; nearest: fp16",
    }
    return {name: reasons.get(name, f"{_QUANTIZED}; nearest: fp16") for name in PRECISIONS}


def precision_note(precision: str) -> str:
    """How a precision is honoured, for people."""
    if precision in _AUTOCAST:
        return f"torch.autocast with {_AUTOCAST[precision]}, TF32 off for the rest"
    return f"float32, TF32 {'on' if precision == 'tf32' else 'off'}"


def set_float32(torch: Any, precision: str, *, cudnn_benchmark: bool = False) -> None:
    """Sets what holds for the whole process. PyTorch's own default has TF32 on for convolutions, off for products."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = cudnn_benchmark


def autocast_type(torch: Any, precision: str) -> Any:
    """The type of a precision that is autocast; none if it is not."""
    return getattr(torch, _AUTOCAST[precision]) if precision in _AUTOCAST else None
