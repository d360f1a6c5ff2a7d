"""ONNX Runtime on the CPU: the optimized model is the engine, and the accuracy reference."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Sequence

import onnxruntime as ort

from farm.domain.error_texts import one_line
from farm.domain.errors import BuildError, InvalidModelError, InvalidSpecError, OutOfMemoryError
from farm.domain.models import Tensor
from farm.domain.targets import DeviceKind, ToolchainId
from farm.domain.toolchains import BuilderOption, ToolchainDescription
from workers.toolchains.conversion_options import conversion_options
from workers.toolchains.onnxruntime_files import GRAPH, WEIGHTS, is_large, pack, unpacked
from workers.toolchains.onnxruntime_profiling import profile_nodes
from workers.toolchains.onnxruntime_sessions import TimedRun, sessions_by
from workers.toolchains.toolchain import BuildInput, BuildOutput, TimedSession

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from farm.domain.layer_times import LayerEvent
    from farm.domain.methods import Method
    from workers.toolchains.toolchain import LoadedEngine, Progress, Toolchain

_LEVELS = {
    "DISABLE_ALL": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "BASIC": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "EXTENDED": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "ALL": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_DTYPES = {"float": "float32", "double": "float64"}
_PROVIDERS = ["CPUExecutionProvider"]
_WEIGHTS_FILE = "session.optimized_model_external_initializers_file_name"
# Seen with ONNX Runtime 1.31: a model converted to FP16 is optimized back to FP32 kernels on FP32
# copies of the rounded weights, so such an engine would be less accurate and no faster or smaller.
_IN_FP32 = (
    "is not supported yet by this toolchain: the CPU execution provider computes in fp32; nearest: fp32"
)


class OnnxRuntimeToolchain:
    """Builds with the CPU execution provider."""

    def describe(self) -> ToolchainDescription:
        """Name, version and what it can do."""
        return ToolchainDescription(
            id=ToolchainId("onnxruntime", ort.__version__),
            precisions={
                "fp32": "",
                "tf32": "a CPU has no TF32; nearest: fp32",
                **{name: f"{name} {_IN_FP32}" for name in ("fp16", "bf16")},
                "int8": "",
                "int8+fp16": f"fp16 {_IN_FP32.replace('nearest: fp32', 'nearest: int8')}",
                **dict.fromkeys(("fp8", "fp8+fp16"), "the CPU execution provider has no FP8; nearest: int8"),
                "best": "an ONNX Runtime engine has the types that its model has; nearest: int8",
            },
            options=(
                BuilderOption(
                    "graph_optimization_level",
                    "choice",
                    default="ALL",
                    choices=tuple(_LEVELS),
                    help="How far the graph is optimized.",
                ),
                *conversion_options(),
            ),
            serves=DeviceKind.CPU,
            precision_notes={
                "fp32": "computed in FP32 by the CPU execution provider",
                "int8": "quantized by ONNX Runtime (Q/DQ nodes, ranges from samples), the rest in FP32",
            },
        )

    def build(self, build: BuildInput, progress: Progress) -> BuildOutput:
        """Optimizes the model for this CPU and writes it as an ONNX file.

        Raises:
            InvalidModelError: ONNX Runtime does not take the model.
            OutOfMemoryError: the host was too small.
        """
        progress(None, "optimizing the graph")
        options = _session_options()
        level = str(build.builder_config.get("graph_optimization_level", "ALL"))
        options.graph_optimization_level = _LEVELS[level]
        if is_large(build.model_path):
            with tempfile.TemporaryDirectory(dir=build.engine_path.parent) as folder:
                options.optimized_model_filepath = str(Path(folder) / GRAPH)
                options.add_session_config_entry(_WEIGHTS_FILE, WEIGHTS)
                _new_session(build.model_path, options)
                pack([Path(folder) / GRAPH, Path(folder) / WEIGHTS], build.engine_path)
        else:
            options.optimized_model_filepath = str(build.engine_path)
            _new_session(build.model_path, options)
        return BuildOutput(
            precision_note=f"{build.conversion or 'FP32'}, CPUExecutionProvider",
            details={"graph_optimization_level": level},
        )

    def load(self, engine_path: Path) -> LoadedEngine:
        """Loads an optimized model as it is.

        It is not optimized again: what was built with a lower level would be timed at the highest one, and a BERT that
        was optimized twice took three times as long (measured on 1.31).

        Raises:
            BuildError: these bytes are not a model that this version runs.
        """
        return _LoadedModel(engine_path, "DISABLE_ALL")


class _LoadedModel:
    """An ONNX Runtime session."""

    layer_profiler = "ONNX Runtime"

    def __init__(self, path: Path, level: str) -> None:
        self._path = path
        self._level = _LEVELS[level]
        with unpacked(path) as graph:
            self._session: Any = _new_session(graph, self._options())
        self.inputs = tuple(map(_tensor, self._session.get_inputs()))
        self.outputs = tuple(map(_tensor, self._session.get_outputs()))

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs for some inputs."""
        try:
            values = self._session.run(None, dict(inputs))
        except Exception as error:
            raise _translated(error, InvalidSpecError) from error
        return dict(zip((tensor.name for tensor in self.outputs), values, strict=True))

    def timed_sessions(self, inputs: Mapping[str, NDArray[Any]]) -> list[TimedSession]:
        """One way: the host's clock around the call, with buffers bound beforehand."""
        return [TimedRun(self._session, [inputs])]

    def sessions_by(
        self,
        inputs: Sequence[Mapping[str, NDArray[Any]]],
        methods: Sequence[Method],
        *,
        is_blocking: bool = False,
    ) -> Iterator[TimedSession]:
        """One call at a time, or as many at once as a method has streams."""
        return sessions_by(self._session, inputs, methods)

    def profile_layers(
        self, inputs: Mapping[str, NDArray[Any]], iterations: int
    ) -> Sequence[Sequence[LayerEvent]]:
        """Every node's time in every run, in a session of its own."""

        def profiling_session(prefix: str) -> Any:
            options = self._options()
            options.enable_profiling = True
            options.profile_file_prefix = prefix
            with unpacked(self._path) as graph:
                return _new_session(graph, options)

        return profile_nodes(profiling_session, inputs, iterations)

    def close(self) -> None:
        """Lets the session go."""
        self._session = None

    def _options(self) -> Any:
        options = _session_options()
        options.graph_optimization_level = self._level
        return options


def open_model(path: Path) -> tuple[LoadedEngine, str]:
    """A model as it was submitted, optimized while it is loaded, and which ONNX Runtime runs it.

    Raises:
        InvalidModelError: ONNX Runtime does not take the model.
    """
    return _LoadedModel(path, "ALL"), f"{OnnxRuntimeToolchain().describe().id} fp32"


def toolchain() -> Toolchain:
    """The toolchain of this interpreter's ONNX Runtime."""
    return OnnxRuntimeToolchain()


def _session_options() -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return options


def _new_session(path: Path, options: Any) -> Any:
    try:
        return ort.InferenceSession(str(path), options, providers=_PROVIDERS)
    except Exception as error:
        raise _translated(error, InvalidModelError) from error


def _translated(error: Exception, refusal: type[InvalidModelError | InvalidSpecError]) -> Exception:
    """ONNX Runtime raises a class per status code, all of them below RuntimeError."""
    text = one_line(error)
    if isinstance(error, MemoryError) or "bad allocation" in text or "Failed to allocate memory" in text:
        return OutOfMemoryError(f"ONNX Runtime ran out of host memory: {text}")
    if type(error).__name__ in ("NotImplemented", "InvalidGraph", "Fail", "InvalidProtobuf", "NoSuchFile"):
        return refusal(f"ONNX Runtime {ort.__version__} does not take the model: {text}")
    if type(error).__name__ == "InvalidArgument":
        return InvalidSpecError(f"ONNX Runtime {ort.__version__}: {text}")
    return BuildError(f"ONNX Runtime {ort.__version__} failed: {text}")


def _tensor(argument: Any) -> Tensor:
    inner = argument.type[len("tensor(") : -1] if argument.type.startswith("tensor(") else argument.type
    shape = tuple(size if isinstance(size, int) else -1 for size in argument.shape)
    symbols = tuple(size if isinstance(size, str) else "" for size in argument.shape)
    return Tensor(argument.name, _DTYPES.get(inner, inner), shape, symbols)
