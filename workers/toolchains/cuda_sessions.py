"""Timing an engine on inputs that stay in place: launched plainly, or replayed from a CUDA graph.

Follows trtexec's definitions: compute time is between two CUDA events around the launch, the
transfers' times are between events around the copies; see docs/measuring.md.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from farm.domain.errors import BuildError
from workers.toolchains.cuda_driver import cleanup, cuda_errors
from workers.toolchains.toolchain import IterationTimes, TimedSession

if TYPE_CHECKING:
    from workers.toolchains.cuda_binding import Binding, Executor

#: Plain launches before a capture: TensorRT asks for one after every change of shapes, so that work
#: it puts off until then is not captured; a second one shows that nothing is left.
_WARM_LAUNCHES = 2


class GraphCaptureError(Exception):
    """The launch can not be captured; it can still be made plainly."""


class PlainSession:
    """Launches through TensorRT each time."""

    is_graph = False
    has_transfers = True

    def __init__(self, executor: Executor, binding: Binding) -> None:
        self._executor = executor
        self._binding: Binding | None = binding
        self._gpu = executor.gpu
        with cuda_errors(self._gpu.drv, "preparing to time the engine"):
            self._events = [self._gpu.drv.Event() for _ in range(4)]

    def iterate(self) -> IterationTimes:
        """Copies the inputs in, runs once, copies the outputs out, and waits; each part timed."""
        binding, stream = self._ready(), self._gpu.stream
        with cuda_errors(self._gpu.drv, "timing the engine"):
            start, copied, computed, end = self._events
            start.record(stream)
            binding.copy_in()
            copied.record(stream)
            self._launch()
            computed.record(stream)
            binding.copy_out()
            end.record(stream)
            end.synchronize()
            return IterationTimes(
                start.time_till(copied), copied.time_till(computed), computed.time_till(end)
            )

    def burst(self, count: int) -> float:
        """Runs `count` times back to back without transfers; the host's seconds from first to last."""
        self._ready()
        with cuda_errors(self._gpu.drv, "timing the engine"):
            self._gpu.stream.synchronize()
            began = time.perf_counter()
            for _ in range(count):
                self._launch()
            self._gpu.stream.synchronize()
            return time.perf_counter() - began

    def close(self) -> None:
        """Gives the buffers back."""
        if self._binding is None:
            return
        with cleanup():
            self._gpu.stream.synchronize()
        self._events.clear()
        self._binding.close()
        self._binding = None

    def _ready(self) -> Binding:
        """The inputs, in place; so that a timed part never has to put them there."""
        binding = self._in_place()
        self._executor.use(binding)
        return binding

    def _in_place(self) -> Binding:
        if self._binding is None:
            raise ValueError("the session is closed")
        return self._binding

    def _launch(self) -> None:
        self._executor.launch(self._in_place())


class GraphSession(PlainSession):
    """Replays a CUDA graph, captured through cuda-bindings, since PyCUDA has no graphs.

    Raises:
        GraphCaptureError: cuda-bindings are missing, or the launch can not be captured.
    """

    is_graph = True

    def __init__(self, executor: Executor, binding: Binding) -> None:
        super().__init__(executor, binding)
        self._graph_exec: Any = None
        self._captured_in = -1
        self._cudart = _cuda_runtime()
        self._capture()

    def close(self) -> None:
        """Gives the graph and the buffers back."""
        if self._binding is not None:
            with cleanup():
                self._gpu.stream.synchronize()
            self._drop_graph()
        super().close()

    def _ready(self) -> Binding:
        binding = super()._ready()
        if self._captured_in != self._executor.generation:
            # Other inputs were in place since: the graph's addresses and shapes hold no longer.
            self._drop_graph()
            try:
                self._capture()
            except GraphCaptureError as error:
                raise BuildError(f"the CUDA graph could not be captured again: {error}") from error
        return binding

    def _launch(self) -> None:
        (status,) = self._cudart.cudaGraphLaunch(self._graph_exec, self._gpu.stream.handle)
        if int(status):
            raise BuildError(f"timing the engine: its CUDA graph does not launch: {status}")

    def _capture(self) -> None:
        cudart, handle, executor = self._cudart, self._gpu.stream.handle, self._executor
        binding = self._in_place()
        for _ in range(_WARM_LAUNCHES):
            executor.launch(binding)
        self._gpu.synchronize()
        capturable = getattr(executor.context, "is_stream_capturable", None)  # TensorRT-RTX's
        if capturable is not None and not capturable(handle):
            raise GraphCaptureError("the engine says that its stream can not be captured")
        executor.log.forget()
        # ThreadLocal: calls of other threads, such as NVML's or a heartbeat's, do not disturb it.
        _check(
            cudart.cudaStreamBeginCapture(
                handle, cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
            )
        )
        launched = executor.context.execute_async_v3(handle)
        status, graph = cudart.cudaStreamEndCapture(handle)
        if not launched or int(status):
            cudart.cudaGetLastError()  # forgets the error, which is not a lasting one
            executor.forget()
            raise GraphCaptureError(executor.log.quoted_errors() or str(status))
        try:
            self._graph_exec = _check(cudart.cudaGraphInstantiate(graph, 0))
        finally:
            cudart.cudaGraphDestroy(graph)
        _check(cudart.cudaGraphUpload(self._graph_exec, handle))
        self._gpu.synchronize()
        self._captured_in = executor.generation

    def _drop_graph(self) -> None:
        if self._graph_exec is not None:
            self._cudart.cudaGraphExecDestroy(self._graph_exec)
            self._graph_exec = None


def open_sessions(executor: Executor, binding: Binding) -> list[TimedSession]:
    """The ways to time the inputs that are in place: plain, and as a graph where it can be."""
    sessions: list[TimedSession] = [PlainSession(executor, binding)]
    if binding.has_data_dependent_outputs:
        # TensorRT waits for the device in the midst of such a launch, which no graph can hold.
        _say("no CUDA graph: the shape of an output depends on the data")
        return sessions
    try:
        sessions.append(GraphSession(executor, binding.share()))
    except BaseException as error:
        binding.close()  # the share that the graph would have held
        if not isinstance(error, GraphCaptureError):
            raise
        _say(f"no CUDA graph, only plain launches: {error}")
    return sessions


def _cuda_runtime() -> Any:
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise GraphCaptureError(f"cuda-bindings are not installed beside TensorRT ({error})") from error
    return runtime


def _check(answer: Any) -> Any:
    """What a call of cuda-bindings gives back beside its status."""
    status, *rest = answer
    if int(status):
        raise GraphCaptureError(str(status))
    return rest[0] if rest else None


def _say(text: str) -> None:
    sys.stderr.write(f"[CUDA] [I] {text}\n")
