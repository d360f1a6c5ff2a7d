"""The one GPU that the process sees: its context, one stream, and CUDA's errors as the farm's.

PyCUDA, which has no place on hosts without a GPU, is imported when it is first needed.
"""

from __future__ import annotations

import atexit
import copy
import ctypes
import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from farm.domain.errors import BuildError, DeviceUnavailableError, FarmError, OutOfMemoryError

if TYPE_CHECKING:
    from collections.abc import Iterator

_NO_MEMORY = re.compile(r"out of memory|MemoryError", re.IGNORECASE)
_NO_DEVICE = re.compile(
    r"no CUDA-capable device|invalid device ordinal|busy or unavailable|uncorrectable ECC|not initialized"
    r"|initialization error|insufficient|system not yet initialized|unknown error|hardware stack",
    re.IGNORECASE,
)


def require_device() -> None:
    """Makes sure that a GPU is there before TensorRT looks for one.

    TensorRT 8.6 ends the process with a segmentation fault when a runtime is asked for and there
    is no driver (seen on 8.6.0), so nothing of it may be called before this.

    Raises:
        DeviceUnavailableError: there is no driver, or it shows no device.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise DeviceUnavailableError(
            "there is no NVIDIA driver here (libcuda.so.1 does not load)",
            hint="Run this on a host with a GPU; in a container, start it with --gpus.",
        ) from error
    status = driver.cuInit(0)
    if status:
        raise DeviceUnavailableError(f"the NVIDIA driver does not start: cuInit answered {status}")
    count = ctypes.c_int(0)
    status = driver.cuDeviceGetCount(ctypes.byref(count))
    if status or count.value < 1:
        raise DeviceUnavailableError(
            "the NVIDIA driver shows no GPU to this process", hint="Look at CUDA_VISIBLE_DEVICES."
        )


@contextmanager
def cuda_errors(drv: Any, doing: str) -> Iterator[None]:
    """Turns PyCUDA's errors into the farm's.

    Args:
        drv: the module `pycuda.driver`.
        doing: what was tried, to begin the message with: `copying the inputs`.
    """
    try:
        yield
    except drv.Error as error:
        raise _as_farm_error(doing, error, is_memory=isinstance(error, drv.MemoryError)) from error


def _as_farm_error(doing: str, error: Exception, *, is_memory: bool) -> FarmError:
    message = f"{doing}: CUDA says {error}"
    if is_memory or _NO_MEMORY.search(str(error)):
        return OutOfMemoryError(
            message, hint="Use smaller shapes, or free the device's memory: another process may hold it."
        )
    if _NO_DEVICE.search(str(error)):
        return DeviceUnavailableError(message)
    # A kernel that fails (an illegal address, say) is the engine's doing and happens again.
    return BuildError(message, hint="The engine's kernels fail on this device: its log is kept.")


class Gpu:
    """The first visible device, with its primary context current and one stream in it.

    The primary context, because TensorRT and cuda-bindings use CUDA's runtime API, which lives there.
    """

    def __init__(self) -> None:
        require_device()
        try:
            import pycuda.driver as drv
        except ImportError as error:
            raise DeviceUnavailableError(
                f"PyCUDA does not load in this interpreter: {error}",
                hint="Install pycuda beside TensorRT (pip install 'engine-farm[gpu]').",
            ) from error
        self.drv: Any = drv
        with cuda_errors(drv, "opening the device"):
            drv.init()
            self._device = drv.Device(0)
            self._context = self._device.retain_primary_context()
            self._context.push()
        # Also when an exception ends the process: it would abort, and hide that exception.
        atexit.register(self.close)
        try:
            with cuda_errors(drv, "opening the device"):
                self.stream: Any = drv.Stream()
        except FarmError:
            self.close()
            raise

    @property
    def name(self) -> str:
        """The product's name and compute capability, for messages."""
        major, minor = self._device.compute_capability()
        return f"{self._device.name()} (compute capability {major}.{minor})"

    @property
    def l2_bytes(self) -> int:
        """Size of the L2 cache."""
        return int(self._device.get_attribute(self.drv.device_attribute.L2_CACHE_SIZE))

    def memory_bytes(self) -> tuple[int, int]:
        """Free and total memory of the device, whoever uses the rest."""
        with cuda_errors(self.drv, "asking for the device's memory"):
            free, total = self.drv.mem_get_info()
        return int(free), int(total)

    def with_own_stream(self) -> Gpu:
        """The same device with a stream beside this one's; `drop_stream` gives it back, before this one is closed."""
        beside = copy.copy(self)
        beside._context = None  # which is this one's to leave
        with cuda_errors(self.drv, "making a stream"):
            beside.stream = self.drv.Stream()
        return beside

    def drop_stream(self) -> None:
        """Gives the stream back."""
        with cleanup():
            del self.stream

    def synchronize(self) -> None:
        """Waits for the stream.

        Raises:
            FarmError: something in it has failed.
        """
        with cuda_errors(self.drv, "running the engine"):
            self.stream.synchronize()

    def close(self) -> None:
        """Leaves the context: a context that is still current makes PyCUDA abort the interpreter."""
        if self._context is None:
            return
        with cleanup():
            if hasattr(self, "stream"):
                del self.stream
        with cleanup():
            self._context.pop()
        self._context = None
        atexit.unregister(self.close)


class HostBuffer:
    """Page-locked host memory seen as an array: copies from and to it run asynchronously."""

    def __init__(self, gpu: Gpu, dtype: str, shape: tuple[int, ...]) -> None:
        import numpy as np

        self.nbytes = int(np.dtype(dtype).itemsize * np.prod(shape, dtype=np.int64))
        with cuda_errors(gpu.drv, f"allocating {self.nbytes} bytes of page-locked host memory"):
            self._bytes = gpu.drv.pagelocked_empty(max(self.nbytes, 1), np.uint8)
        self.array = self._bytes[: self.nbytes].view(dtype).reshape(shape)

    @property
    def raw(self) -> Any:
        """Its bytes, for copies."""
        return self._bytes[: self.nbytes]

    @property
    def address(self) -> int:
        """Where it begins."""
        return int(self._bytes.ctypes.data)

    def close(self) -> None:
        """Gives the memory back; `array` must not be used after."""
        del self.array
        with cleanup():
            self._bytes.base.free()


class DeviceBuffer:
    """Device memory that grows when asked to."""

    def __init__(self, gpu: Gpu, nbytes: int) -> None:
        self._gpu = gpu
        self.capacity = max(nbytes, 1)
        with cuda_errors(gpu.drv, f"allocating {self.capacity} bytes on the device"):
            self._memory = gpu.drv.mem_alloc(self.capacity)

    @property
    def address(self) -> int:
        """Where it begins, as the device sees it."""
        return int(self._memory)

    def grow(self, nbytes: int) -> None:
        """Makes it hold so many bytes; what it held is lost."""
        if nbytes <= self.capacity:
            return
        with cuda_errors(self._gpu.drv, f"allocating {nbytes} bytes on the device"):
            self._memory.free()
            self.capacity = 0
            self._memory = self._gpu.drv.mem_alloc(nbytes)
            self.capacity = nbytes

    def close(self) -> None:
        """Gives the memory back."""
        with cleanup():
            if self.capacity:
                self._memory.free()
            self.capacity = 0


@contextmanager
def cleanup() -> Iterator[None]:
    """Lets the rest of a clean-up go on: after a failed kernel every call of CUDA fails too."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - PyCUDA's errors have no type before it is imported
        sys.stderr.write(f"[CUDA] [W] while cleaning up: {error}\n")
