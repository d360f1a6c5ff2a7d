"""Time by layer: TensorRT's IProfiler around launches of an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, List, Mapping, Sequence, Tuple

from farm.domain.layer_times import LayerEvent
from workers.toolchains.cuda_binding import Binding
from workers.toolchains.cuda_driver import cuda_errors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from workers.toolchains.cuda_arrays import EngineTensor
    from workers.toolchains.cuda_binding import Executor

#: The first launches with a profiler load kernels and make events of their own.
_WARM_LAUNCHES = 3


def profile_layers(
    executor: Executor, tensors: Sequence[EngineTensor], inputs: Mapping[str, NDArray[Any]], iterations: int
) -> List[Tuple[LayerEvent, ...]]:
    """Every layer's time in every iteration, in the order in which TensorRT reports them.

    `enqueue_emits_profile` makes a launch wait for the device and report. Layers that run side by side on auxiliary
    streams are reported one by one, so their times may come to more than the whole.

    Raises:
        FarmError: an input does not fit, or the device failed.
    """
    profiler = make_profiler(executor.trt)
    binding = Binding(executor, tensors, inputs)
    try:
        with cuda_errors(executor.gpu.drv, "profiling the engine"):
            binding.copy_in()
            executor.launch(binding)
            executor.gpu.stream.synchronize()
            executor.context.profiler = profiler
            executor.context.enqueue_emits_profile = True
            seen: List[Tuple[LayerEvent, ...]] = []
            for number in range(_WARM_LAUNCHES + iterations):
                profiler.events = []
                executor.launch(binding)
                executor.gpu.stream.synchronize()
                if number >= _WARM_LAUNCHES:
                    seen.append(tuple(LayerEvent(name, "", -1.0, ms) for name, ms in profiler.events))
            return seen
    finally:
        # TensorRT takes no other profiler than one (8.6 calls none an error); silent, it costs nothing.
        executor.context.enqueue_emits_profile = False
        binding.close()


def make_profiler(trt: Any) -> Any:
    """What TensorRT tells of every layer that has run."""

    class LayerProfiler(trt.IProfiler):  # type: ignore[misc]  # the base is only known at run time
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)  # pybind11 asks for the explicit call
            self.events: List[Tuple[str, float]] = []

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.events.append((str(layer_name), float(ms)))

    return LayerProfiler()
