"""A stream, events and pinned memory of the one visible GPU, by the driver's own library and ctypes.

For libraries that bring neither: ONNX Runtime takes a stream, and gives no events.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, Tuple

import numpy as np

from farm.domain.errors import BuildError, OutOfMemoryError
from workers.toolchains.cuda_driver import require_device

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: CUDA_ERROR_OUT_OF_MEMORY and CU_STREAM_NON_BLOCKING, CU_EVENT_BLOCKING_SYNC (cuda.h).
_OUT_OF_MEMORY, _NON_BLOCKING, _BLOCKING_SYNC = 2, 1, 1


class CudaStream:
    """A stream in the device's primary context, where libraries of CUDA's runtime work too.

    Raises:
        DeviceUnavailableError: there is no GPU.
        BuildError: the driver refused.
    """

    def __init__(self) -> None:
        require_device()
        self._driver = ctypes.CDLL("libcuda.so.1")
        self._context = ctypes.c_void_p()
        self._stream = ctypes.c_void_p()
        device = ctypes.c_int(0)
        self.call("cuDeviceGet", ctypes.byref(device), 0)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), device)
        self.call("cuCtxSetCurrent", self._context)
        self.call("cuStreamCreate", ctypes.byref(self._stream), _NON_BLOCKING)

    @property
    def handle(self) -> int:
        """Its address, as libraries take it."""
        return int(self._stream.value or 0)

    def call(self, name: str, *arguments: Any) -> None:
        """Calls a function of the driver.

        Raises:
            OutOfMemoryError: there is no room.
            BuildError: it answered with another error.
        """
        status = getattr(self._driver, name)(*arguments)
        if status == _OUT_OF_MEMORY:
            raise OutOfMemoryError(f"{name}: the GPU or the host has no room", hint="Ask for smaller shapes.")
        if status:
            raise BuildError(f"{name}: the NVIDIA driver answered {status}")

    def copy_in(self, address: int, host: NDArray[Any]) -> None:
        """Copies an array to the device; does not wait."""
        source = ctypes.c_void_p(host.ctypes.data)
        size = ctypes.c_size_t(host.nbytes)
        self.call("cuMemcpyHtoDAsync_v2", ctypes.c_void_p(address), source, size, self._stream)

    def copy_out(self, host: NDArray[Any], address: int) -> None:
        """Copies from the device into an array; does not wait."""
        target = ctypes.c_void_p(host.ctypes.data)
        size = ctypes.c_size_t(host.nbytes)
        self.call("cuMemcpyDtoHAsync_v2", target, ctypes.c_void_p(address), size, self._stream)

    def synchronize(self) -> None:
        """Waits for all that is on it."""
        self.call("cuStreamSynchronize", self._stream)

    def event(self, *, is_blocking: bool = False) -> CudaEvent:
        """A new event."""
        return CudaEvent(self, self._stream, is_blocking=is_blocking)

    def pinned(self, shape: Tuple[int, ...], dtype: Any) -> PinnedArray:
        """Memory of the host that copies go to and from without a detour."""
        return PinnedArray(self, shape, np.dtype(dtype))

    def close(self) -> None:
        """Gives the stream back; the context is the process's."""
        if self._stream.value:
            self.call("cuStreamSynchronize", self._stream)
            self.call("cuStreamDestroy_v2", self._stream)
            self._stream = ctypes.c_void_p()


class CudaEvent:
    """A moment on the stream."""

    def __init__(self, stream: CudaStream, handle: Any, *, is_blocking: bool) -> None:
        self._owner, self._stream = stream, handle
        self._event = ctypes.c_void_p()
        stream.call("cuEventCreate", ctypes.byref(self._event), _BLOCKING_SYNC if is_blocking else 0)

    def record(self) -> None:
        """Now, on the stream."""
        self._owner.call("cuEventRecord", self._event, self._stream)

    def synchronize(self) -> None:
        """Waits until it has come."""
        self._owner.call("cuEventSynchronize", self._event)

    def ms_till(self, later: CudaEvent) -> float:
        """Milliseconds between two that have come."""
        found = ctypes.c_float()
        self._owner.call("cuEventElapsedTime", ctypes.byref(found), self._event, later._event)
        return float(found.value)

    def close(self) -> None:
        """Gives it back."""
        self._owner.call("cuEventDestroy_v2", self._event)


class PinnedArray:
    """An array in pinned memory.

    Attributes:
        array: the memory; not to be touched once it is closed.
    """

    def __init__(self, stream: CudaStream, shape: Tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._owner = stream
        self._memory = ctypes.c_void_p()
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        stream.call("cuMemAllocHost_v2", ctypes.byref(self._memory), ctypes.c_size_t(max(size, 1)))
        bytes_: Any = (ctypes.c_byte * max(size, 1)).from_address(int(self._memory.value or 0))
        self.array: NDArray[Any] = (
            np.frombuffer(bytes_, dtype=np.uint8, count=size).view(dtype).reshape(shape)
        )

    def close(self) -> None:
        """Gives the memory back."""
        self._owner.call("cuMemFreeHost", self._memory)
