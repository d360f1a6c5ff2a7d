"""The sessions of an engine by method: which launches, contexts and streams each one takes."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Callable, Iterator, List, Mapping, Optional, Sequence

from farm.domain.errors import FarmError
from workers.toolchains.cuda_binding import Binding, Executor
from workers.toolchains.cuda_driver import cuda_errors
from workers.toolchains.cuda_launches import PlainLaunch, graph_launch, say
from workers.toolchains.cuda_sessions import Flush, PipelinedSession, SerialSession

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from farm.domain.methods import Method
    from workers.toolchains.cuda_arrays import EngineTensor
    from workers.toolchains.toolchain import TimedSession

    Inputs = Sequence[Mapping[str, NDArray[Any]]]


class MethodSessions:
    """Opens a session after another on the same inputs.

    Args:
        executor: the engine's context.
        tensors: its inputs and outputs.
        inputs: of one shape; copies of them to the device take turns.
        new_context: makes one more execution context.
        is_blocking: whether the host sleeps while it waits.
    """

    def __init__(
        self,
        executor: Executor,
        tensors: Sequence[EngineTensor],
        inputs: Inputs,
        new_context: Callable[[], Any],
        *,
        is_blocking: bool,
    ) -> None:
        self._executor = executor
        self._tensors = tensors
        self._inputs = inputs
        self._new_context = new_context
        self._is_blocking = is_blocking

    def one_after_another(self, methods: Sequence[Method]) -> Iterator[TimedSession]:
        """A session for each method that can be, or for the nearest one; closed when the next is asked for."""
        done: List[Method] = []
        with ExitStack() as stack:
            binding = self._bind(self._executor, stack)
            flush: Optional[Flush] = None
            if any(method.flushed for method in methods):
                flush = Flush(self._executor.gpu)
                stack.callback(flush.close)
            can_graph = True
            for wanted in methods:
                method = wanted if can_graph else replace(wanted, graph=False)
                if method in done or (method != wanted and method in methods):
                    continue
                with ExitStack() as opened:
                    session = self._open(method, binding, flush, opened)
                    if session is None and method.graph and not any(other.graph for other in done):
                        opened.close()
                        can_graph, method = False, replace(method, graph=False)
                        # Unless it is timed plainly anyway.
                        session = None if method in methods else self._open(method, binding, flush, opened)
                    if session is None:
                        continue
                    done.append(method)
                    with closing(session):
                        yield session

    def _open(
        self, method: Method, binding: Binding, flush: Optional[Flush], opened: ExitStack
    ) -> Optional[TimedSession]:
        """A session; none where this engine or device has none such, which the log says."""
        if method.streams > 1:
            return self._open_streams(method, opened)
        launch = (
            graph_launch(self._executor, binding)
            if method.graph
            else PlainLaunch(self._executor, binding.share())
        )
        if launch is None:
            return None
        flush = flush if method.flushed else None
        if method.transfers:
            return SerialSession(launch, is_blocking=self._is_blocking, flush=flush)
        return PipelinedSession([launch], transfers=False, is_blocking=self._is_blocking, flush=flush)

    def _open_streams(self, method: Method, opened: ExitStack) -> Optional[TimedSession]:
        """As many contexts as streams, each with buffers of its own."""
        launches: List[PlainLaunch] = []
        try:
            for number in range(method.streams):
                executor = self._executor if number == 0 else self._another_executor(opened)
                binding = self._bind(executor, opened)
                launch = (
                    graph_launch(executor, binding)
                    if method.graph
                    else PlainLaunch(executor, binding.share())
                )
                if launch is None:
                    return None
                launches.append(launch)
                opened.callback(launch.close)
            return PipelinedSession(launches, transfers=method.transfers, is_blocking=self._is_blocking)
        except FarmError as error:
            # In TensorRT 8 two contexts share a profile only with PreviewFeature.PROFILE_SHARING_0806.
            say(f"{method.streams} streams at once can not be timed: {error}")
            return None

    def _bind(self, executor: Executor, opened: ExitStack) -> Binding:
        """The inputs in place, for those too that never copy them in again."""
        binding = Binding(executor, self._tensors, self._inputs[0], self._inputs[1:])
        opened.callback(binding.close)
        with cuda_errors(executor.gpu.drv, "copying the inputs"):
            binding.copy_in()
            executor.gpu.stream.synchronize()
        return binding

    def _another_executor(self, opened: ExitStack) -> Executor:
        base = self._executor
        gpu = base.gpu.with_own_stream()
        opened.callback(gpu.drop_stream)
        context = self._new_context()
        executor = Executor(base.trt, context, gpu, base.log)
        opened.callback(executor.close)
        return executor
