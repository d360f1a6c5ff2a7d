"""A serialized engine, loaded onto the one GPU that the process sees.

Shared by TensorRT and TensorRT-RTX; the module `trt` is an argument. Only the API that finds
inputs and outputs by name is used: it is the one that every release from 8.5 to 11 has.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from farm.domain.errors import BuildError
from workers.toolchains.cuda_binding import Binding, Executor
from workers.toolchains.cuda_driver import Gpu, cleanup, cuda_errors
from workers.toolchains.cuda_launches import PlainLaunch, graph_launch
from workers.toolchains.cuda_methods import MethodSessions
from workers.toolchains.cuda_profiling import profile_layers
from workers.toolchains.cuda_sessions import SerialSession
from workers.toolchains.engine_tensors import read_tensors
from workers.toolchains.startup import StartupSteps
from workers.toolchains.trt_log import TrtLog, failure

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from farm.domain.layer_times import LayerEvent
    from farm.domain.methods import Method
    from farm.domain.models import Tensor
    from workers.toolchains.toolchain import TimedSession

CreateContext = Callable[[Any], Any]
CheckPlan = Callable[[Any, Any], None]


def load_engine(
    trt: Any,
    log: TrtLog,
    engine_path: Path,
    *,
    create_context: CreateContext | None = None,
    check_plan: CheckPlan | None = None,
) -> CudaEngine:
    """Loads a plan whose header has been looked at.

    Args:
        trt: the module.
        log: its log.
        engine_path: the plan.
        create_context: makes an execution context from the engine, where the default will not do.
        check_plan: looks at runtime and plan before the plan is loaded.

    Raises:
        BuildError: these bytes are not an engine of this version for this device.
        OutOfMemoryError: the device has no room for it.
        DeviceUnavailableError: there is no such device here.
    """
    startup = StartupSteps()
    gpu = Gpu()
    try:
        log.forget()
        startup.memory = gpu.memory_bytes
        startup.done("device")
        runtime = create_runtime(trt, log)
        startup.done("runtime")
        engine = _deserialize(runtime, log, engine_path, gpu, check_plan)
        startup.done("deserialise")
        return CudaEngine(trt, log, gpu, runtime, engine, create_context or _default_context, startup)
    except BaseException:
        # Deleted in this order: TensorRT crashes when a part outlives what it came from.
        engine = runtime = None
        gpu.close()
        raise


def create_runtime(trt: Any, log: TrtLog) -> Any:
    """A runtime.

    Raises:
        FarmError: there is none to be had.
    """
    try:
        runtime = trt.Runtime(log.logger)
    except TypeError as error:  # pybind11's word for a null pointer
        raise failure(log, "gives no runtime") from error
    if hasattr(runtime, "engine_host_code_allowed"):
        # A version-compatible engine brings the lean runtime with it. What is loaded here was built by this
        # farm or is signed by a worker of it (docs/security.md), so its host code is trusted like its kernels.
        runtime.engine_host_code_allowed = True
    return runtime


def device_memory_bytes(engine: Any) -> int:
    """What an execution context takes: 10.1 renamed it, and 11 dropped the old name."""
    for name in ("device_memory_size_v2", "device_memory_size"):
        size = getattr(engine, name, None)
        if size is not None:
            return int(size)
    return 0


class CudaEngine:
    """A live engine.

    Attributes:
        inputs: what it takes, -1 for a dynamic dimension. int64 inputs of a model are int32 in an
            engine of TensorRT 8, which has no such type: arrays given as int64 are cast, outputs
            come as the int32 that they are.
        outputs: what it gives.
        startup: the steps of its loading.
    """

    def __init__(
        self,
        trt: Any,
        log: TrtLog,
        gpu: Gpu,
        runtime: Any,
        engine: Any,
        create_context: CreateContext,
        startup: StartupSteps,
    ) -> None:
        context = create_context(engine)
        if context is None:
            raise failure(log, "could not make an execution context")
        startup.done("context")
        self.startup = startup
        self._tensors = read_tensors(trt, engine)
        self.inputs: tuple[Tensor, ...] = tuple(t.as_tensor() for t in self._tensors if t.is_input)
        self.outputs: tuple[Tensor, ...] = tuple(t.as_tensor() for t in self._tensors if not t.is_input)
        self._gpu = gpu
        self._runtime = runtime
        self._engine = engine
        self._create_context = create_context
        self._executor: Executor | None = Executor(trt, context, gpu, log)
        self._sessions: list[TimedSession] = []

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs for inputs of any shape within a profile.

        bfloat16 inputs are taken as uint16 bits or as floats, which are rounded; bfloat16 outputs
        come as float32.

        Raises:
            FarmError: an input is missing or does not fit, or the device failed.
        """
        executor = self._live()
        binding = Binding(executor, self._tensors, inputs)
        try:
            with cuda_errors(self._gpu.drv, "running the engine"):
                binding.copy_in()
                executor.launch(binding)
                binding.copy_out()
                self._gpu.stream.synchronize()
            return binding.outputs()
        finally:
            binding.close()

    def use_scales(self, scales: Mapping[str, float]) -> None:
        """From now on int8 inputs and outputs with a scale take and give floats."""
        self._tensors = tuple(
            replace(tensor, scale=scales.get(tensor.name, 0.0) if tensor.dtype == "int8" else 0.0)
            for tensor in self._tensors
        )

    def timed_sessions(self, inputs: Mapping[str, NDArray[Any]]) -> list[TimedSession]:
        """Plain, and as a CUDA graph where that can be; both on the same buffers.

        Sessions on other inputs may be open beside them: they take turns.
        """
        executor = self._live()
        binding = Binding(executor, self._tensors, inputs)
        sessions: list[TimedSession] = [SerialSession(PlainLaunch(executor, binding))]
        try:
            launch = graph_launch(executor, binding)
            if launch is not None:
                sessions.append(SerialSession(launch))
        except BaseException:
            sessions[0].close()
            raise
        self._sessions += sessions
        return sessions

    def sessions_by(
        self,
        inputs: Sequence[Mapping[str, NDArray[Any]]],
        methods: Sequence[Method],
        *,
        is_blocking: bool = False,
    ) -> Iterator[TimedSession]:
        """A session for each method, or for the nearest one that this engine can be timed by.

        Without a CUDA graph it is plain launches; where there is no room for so many streams there is none.
        """
        opened = MethodSessions(
            self._live(), self._tensors, inputs, self._new_context, is_blocking=is_blocking
        )
        return opened.one_after_another(methods)

    layer_profiler = "IProfiler"

    def profile_layers(
        self, inputs: Mapping[str, NDArray[Any]], iterations: int
    ) -> Sequence[Sequence[LayerEvent]]:
        """Every layer's time in every iteration; nothing is to be timed afterwards."""
        return profile_layers(self._live(), self._tensors, inputs, iterations)

    def close(self) -> None:
        """Gives everything back: sessions, context, engine, runtime, then the device's context."""
        if self._executor is None:
            return
        with cleanup():
            self._gpu.stream.synchronize()
        for session in self._sessions:
            session.close()
        self._sessions.clear()
        with cleanup():
            self._executor.close()
        self._executor = None
        self._engine = None
        self._runtime = None
        self._gpu.close()

    def _new_context(self) -> Any:
        """One more execution context.

        Raises:
            FarmError: there is no room for it.
        """
        executor = self._live()
        context = self._create_context(self._engine)
        if context is None:
            raise failure(executor.log, "could not make one more execution context")
        return context

    def _live(self) -> Executor:
        if self._executor is None:
            raise ValueError("the engine is closed")
        return self._executor


def _deserialize(runtime: Any, log: TrtLog, engine_path: Path, gpu: Gpu, check_plan: CheckPlan | None) -> Any:
    with engine_path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as plan:
        # Mapped, not read: TensorRT copies what it keeps, and plans can be many gigabytes.
        if check_plan is not None:
            check_plan(runtime, plan)
        engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        refused = failure(log, f"could not load {engine_path.name} on {gpu.name}")
        if type(refused) is BuildError and not refused.hint:
            refused.hint = "Engines run only on the type of GPU and the release that they were built for."
        raise refused
    return engine


def _default_context(engine: Any) -> Any:
    return engine.create_execution_context()
