"""One inference on the stream, again and again: launched through TensorRT, or replayed from a CUDA graph."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from farm.domain.errors import BuildError
from workers.toolchains.cuda_driver import cleanup

if TYPE_CHECKING:
    from workers.toolchains.cuda_binding import Binding, Executor
    from workers.toolchains.cuda_driver import Gpu

#: Plain launches before a capture: TensorRT asks for one after every change of shapes, so that work
#: it puts off until then is not captured; a second one shows that nothing is left.
_WARM_LAUNCHES = 2


class GraphCaptureError(Exception):
    """The launch can not be captured; it can still be made plainly."""


class PlainLaunch:
    """Through TensorRT each time.

    Args:
        executor: the execution context.
        binding: the inputs; a share of it is this one's, and given back when it closes.
    """

    is_graph = False

    def __init__(self, executor: Executor, binding: Binding) -> None:
        self._executor = executor
        self._binding: Binding | None = binding

    @property
    def gpu(self) -> Gpu:
        """With the stream that it goes to."""
        return self._executor.gpu

    @property
    def binding(self) -> Binding:
        """The inputs and outputs.

        Raises:
            ValueError: it is closed.
        """
        if self._binding is None:
            raise ValueError("the session is closed")
        return self._binding

    def make_ready(self) -> None:
        """Puts the inputs in place, so that a timed part never has to."""
        self._executor.use(self.binding)

    def launch(self) -> None:
        """Enqueues one inference."""
        self._executor.launch(self.binding)

    def close(self) -> None:
        """Gives its share of the buffers back; the stream must be idle."""
        if self._binding is not None:
            self._binding.close()
            self._binding = None


class GraphLaunch(PlainLaunch):
    """From a CUDA graph, captured through cuda-bindings, since PyCUDA has no graphs.

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

    def make_ready(self) -> None:
        """Puts the inputs in place, and captures anew if others were there since."""
        super().make_ready()
        if self._captured_in != self._executor.generation:
            # The graph's addresses and shapes hold no longer.
            self._drop_graph()
            try:
                self._capture()
            except GraphCaptureError as error:
                raise BuildError(f"the CUDA graph could not be captured again: {error}") from error

    def launch(self) -> None:
        """Enqueues the graph."""
        (status,) = self._cudart.cudaGraphLaunch(self._graph_exec, self.gpu.stream.handle)
        if int(status):
            raise BuildError(f"timing the engine: its CUDA graph does not launch: {status}")

    def close(self) -> None:
        """Gives the graph and its share of the buffers back."""
        if self._binding is not None:
            with cleanup():
                self._drop_graph()
        super().close()

    def _capture(self) -> None:
        cudart, handle, executor = self._cudart, self.gpu.stream.handle, self._executor
        for _ in range(_WARM_LAUNCHES):
            executor.launch(self.binding)
        self.gpu.synchronize()
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
        self.gpu.synchronize()
        self._captured_in = executor.generation

    def _drop_graph(self) -> None:
        if self._graph_exec is not None:
            self._cudart.cudaGraphExecDestroy(self._graph_exec)
            self._graph_exec = None


def graph_launch(executor: Executor, binding: Binding) -> GraphLaunch | None:
    """A graph of these inputs, with a share of them; none where there can be none, which the log says."""
    if binding.has_data_dependent_outputs:
        # TensorRT waits for the device in the midst of such a launch, which no graph can hold.
        say("no CUDA graph: the shape of an output depends on the data")
        return None
    try:
        return GraphLaunch(executor, binding.share())
    except BaseException as error:
        binding.close()  # the share that the graph would have held
        if not isinstance(error, GraphCaptureError):
            raise
        say(f"no CUDA graph, only plain launches: {error}")
        return None


def say(text: str) -> None:
    """A line of the attempt's log."""
    sys.stderr.write(f"[CUDA] [I] {text}\n")


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
