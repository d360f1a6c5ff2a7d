# ruff: noqa: D102, N802 - the names are NVML's
"""Whether a worker's GPU is still there: it may fall off the bus, be reset, or lose its driver."""

from __future__ import annotations

import re
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

from farm.domain.jobs import Failure, FailureClass
from farm.domain.targets import DeviceKind

if TYPE_CHECKING:
    from types import TracebackType

    from farm.domain.targets import Device

#: The code of an attempt that lost its device.
DEVICE_LOST = "DeviceLost"
#: How often it is looked for while a child works on it.
GAP_S = 2.0
#: One look that fails may be a hiccup of the driver; a second one after so long is not.
SECOND_LOOK_S = 0.5
#: nvmlReturn_t of nvml.h: not found, GPU is lost, reset required.
_GONE = (6, 15, 16)
#: What CUDA and TensorRT say of a device that is gone, or that must not be used before it is reset.
_LOST_WORDS = re.compile(
    r"GPU is lost|device (is |was )?lost|fallen off the bus|no CUDA-capable device|cudaErrorNoDevice"
    r"|CUDA_ERROR_NO_DEVICE|uncorrectable ECC|CUDA_ERROR_ECC_UNCORRECTABLE|cudaErrorECCUncorrectable",
    re.IGNORECASE,
)


class PresenceNvml(Protocol):
    """What the look uses of the module `pynvml` (nvidia-ml-py)."""

    NVMLError: type[Exception]

    def nvmlInit(self) -> None: ...
    def nvmlShutdown(self) -> None: ...
    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Any: ...
    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any: ...


def why_gone(device: Device, nvml: PresenceNvml | None = None) -> str:
    """Why a GPU can not be worked on any more; an empty text if it is there, or nobody can say.

    It takes milliseconds while the GPU is there. A CPU is always there.

    Args:
        device: that NVML had listed before.
        nvml: the module `pynvml`, imported now if left out.
    """
    if device.device_type.kind is not DeviceKind.GPU:
        return ""
    if nvml is None:
        try:
            import pynvml  # type: ignore[import-untyped,unused-ignore]
        except ImportError:
            return ""
        nvml = cast("PresenceNvml", pynvml)
    if not _look(nvml, device.uuid):
        return ""
    time.sleep(SECOND_LOOK_S)
    return _look(nvml, device.uuid)


def _look(nvml: PresenceNvml, uuid: str) -> str:
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return f"NVML does not start any more: {error}"
    try:
        # Of a GPU that fell off the bus NVML may still have a handle, and nothing else.
        nvml.nvmlDeviceGetMemoryInfo(nvml.nvmlDeviceGetHandleByUUID(uuid))
    except nvml.NVMLError as error:
        return f"NVML says: {error}" if getattr(error, "value", -1) in _GONE else ""
    finally:
        with suppress(nvml.NVMLError):
            nvml.nvmlShutdown()
    return ""


def device_lost(device: Device, why: str, phase: str) -> Failure:
    """The failure of an attempt whose device went away: no fault of the job, which goes elsewhere."""
    return Failure(
        FailureClass.TRANSIENT,
        DEVICE_LOST,
        f"the device {device.uuid} of {device.host} is gone: {why}",
        hint=f"`nvidia-smi` and `dmesg | grep -i xid` on {device.host} say more.",
        phase=phase,
    )


class DeviceWatch:
    """Looks now and then whether a device is still there, while the block runs.

    Args:
        device: which.
        nvml: the module `pynvml`, imported if left out.
    """

    def __init__(self, device: Device, nvml: PresenceNvml | None = None) -> None:
        self._device = device
        self._nvml = nvml
        self._has_begun = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="device-watch", daemon=True)
        #: Why it is gone; an empty text while it is there.
        self.reason = ""

    def __enter__(self) -> Self:
        """Begins to look, if it is a device that can go."""
        self._has_begun = True
        if self._device.device_type.kind is DeviceKind.GPU:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the watch."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def blamed(self, failure: Failure) -> Failure:
        """A failure as it is, or the loss of the device if that is the reason for it.

        A toolchain calls the loss of its device whatever it likes: a crash, or a kernel that failed.
        """
        is_gpu = self._device.device_type.kind is DeviceKind.GPU
        if not self._has_begun or not is_gpu or failure.failure_class is FailureClass.REQUEST:
            return failure
        said = _LOST_WORDS.search(failure.message)
        why = self.reason or why_gone(self._device, self._nvml) or (failure.message if said else "")
        return device_lost(self._device, why, failure.phase) if why else failure

    def _run(self) -> None:
        while not self._over.wait(GAP_S):
            self.reason = why_gone(self._device, self._nvml)
            if self.reason:
                return
