"""Outputs whose shape follows from the data: TensorRT asks for their memory while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farm.domain.errors import FarmError
from workers.toolchains.cuda_driver import DeviceBuffer

if TYPE_CHECKING:
    from workers.toolchains.cuda_driver import Gpu


def make_output_allocator(trt: Any, gpu: Gpu) -> Any:
    """What TensorRT asks for memory when an output's size follows from the data."""

    class OutputAllocator(trt.IOutputAllocator):  # type: ignore[misc]  # the base is only known at run time
        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)  # pybind11 asks for the explicit call
            self.buffer = DeviceBuffer(gpu, 1)
            self.shape: tuple[int, ...] | None = None
            self.error: FarmError | None = None

        def reallocate_output(self, tensor_name: str, memory: int, size: int, alignment: int) -> int:
            try:
                self.buffer.grow(size)
            except FarmError as error:  # nothing may be raised through TensorRT's C++ frames
                self.error = error
                return 0
            return self.buffer.address

        def reallocate_output_async(
            self, tensor_name: str, memory: int, size: int, alignment: int, stream: int
        ) -> int:
            # Asked for instead of the above from 10.0 on.
            return self.reallocate_output(tensor_name, memory, size, alignment)

        def notify_shape(self, tensor_name: str, shape: Any) -> None:
            self.shape = tuple(int(size) for size in shape)

    return OutputAllocator()
