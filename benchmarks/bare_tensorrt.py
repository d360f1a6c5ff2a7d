"""Others' ways to time a TensorRT engine, written by hand: PyCUDA loops, and Polygraphy's runner.

Nothing of the farm's sessions is in here: that is the point.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Like the farm's warm-up and duration, in seconds.
WARM_S, COUNT_S = 0.2, 0.5


def counted(iterate: Callable[[], float]) -> float:
    """The median of what some function says it took, in milliseconds, over half a second."""
    end = time.perf_counter() + WARM_S
    while time.perf_counter() < end:
        iterate()
    samples, end = [], time.perf_counter() + COUNT_S
    while time.perf_counter() < end or len(samples) < 20:
        samples.append(iterate())
    return float(np.median(samples))


class BareEngine:
    """An engine, a context, a stream and buffers, as a script of fifty lines has them.

    A context of PyCUDA must be current.
    """

    def __init__(self, path: Path, feed: dict[str, Any]) -> None:
        import pycuda.driver as cuda
        import tensorrt as trt

        self.cuda = cuda
        runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
        self.parts = [runtime, runtime.deserialize_cuda_engine(path.read_bytes())]
        engine = self.parts[1]
        self.context = engine.create_execution_context()
        self.stream = cuda.Stream()
        self.host_in, self.host_out, self.buffers = {}, {}, {}
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        for name in inputs:
            self.host_in[name] = _pinned(cuda, feed[name])
            self.context.set_input_shape(name, feed[name].shape)
        for name in (name for name in names if name not in inputs):
            shape = tuple(self.context.get_tensor_shape(name))
            self.host_out[name] = _pinned(cuda, np.zeros(shape, trt.nptype(engine.get_tensor_dtype(name))))
        for name, array in {**self.host_in, **self.host_out}.items():
            self.buffers[name] = cuda.mem_alloc(max(array.nbytes, 1))
            self.context.set_tensor_address(name, int(self.buffers[name]))
        self.events = [cuda.Event() for _ in range(4)]
        self.graph: Any = None
        self._copy_in()
        self._launch()
        self.stream.synchronize()

    def serial(self) -> float:
        """Copies in, one inference, copies out, waits; the time between the events around the launch."""
        begin, fed, done, end = self.events
        begin.record(self.stream)
        self._copy_in()
        fed.record(self.stream)
        self._launch()
        done.record(self.stream)
        for name, array in self.host_out.items():
            self.cuda.memcpy_dtoh_async(array, self.buffers[name], self.stream)
        end.record(self.stream)
        end.synchronize()
        return float(fed.time_till(done))

    def pipelined(self, count: int = 100) -> float:
        """The median of inferences without transfers, enqueued one before the last has ended; two events for each."""
        pairs = [(self.cuda.Event(), self.cuda.Event()) for _ in range(2)]
        times = []
        for number in range(count + 2):
            begin, end = pairs[number % 2]
            if number >= 2:
                end.synchronize()
                times.append(begin.time_till(end))
            if number < count:
                begin.record(self.stream)
                self._launch()
                end.record(self.stream)
        return float(np.median(times))

    def capture(self) -> None:
        """From now on launches replay a CUDA graph."""
        from cuda.bindings import runtime as cudart

        handle = self.stream.handle
        for _ in range(2):
            self.context.execute_async_v3(handle)
        self.stream.synchronize()
        mode = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        cudart.cudaStreamBeginCapture(handle, mode)
        self.context.execute_async_v3(handle)
        _, graph = cudart.cudaStreamEndCapture(handle)
        _, self.graph = cudart.cudaGraphInstantiate(graph, 0)
        self.cudart = cudart

    def close(self) -> None:
        """In the order that TensorRT wants."""
        self.stream.synchronize()
        self.context = None
        while self.parts:
            self.parts.pop()

    def _copy_in(self) -> None:
        for name, array in self.host_in.items():
            self.cuda.memcpy_htod_async(self.buffers[name], array, self.stream)

    def _launch(self) -> None:
        if self.graph is not None:
            self.cudart.cudaGraphLaunch(self.graph, self.stream.handle)
        else:
            self.context.execute_async_v3(self.stream.handle)


def polygraphy_runner(path: Path) -> Any:
    """Polygraphy's runner, active; none where Polygraphy is not installed."""
    try:
        from polygraphy.backend.common import BytesFromPath
        from polygraphy.backend.trt import EngineFromBytes, TrtRunner
    except ImportError:
        return None
    runner = TrtRunner(EngineFromBytes(BytesFromPath(str(path))))
    runner.activate()
    return runner


def polygraphy_ms(runner: Any, feed: dict[str, Any]) -> float:
    """One inference of Polygraphy's runner with its copies, by its own account, which is the host's clock."""
    runner.infer(feed, check_inputs=False)
    return float(1000 * runner.last_inference_time())


def _pinned(cuda: Any, array: Any) -> Any:
    found = cuda.pagelocked_empty(array.shape, array.dtype)
    found[...] = array
    return found
