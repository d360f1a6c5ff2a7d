"""ONNX Runtime on the GPU by its CUDA execution provider. A baseline: docs/baselines.md says where it was ever run."""

from __future__ import annotations

import json
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Sequence

import onnxruntime as ort

from farm.domain.error_texts import one_line
from farm.domain.errors import BuildError, InvalidModelError, InvalidSpecError, OutOfMemoryError
from farm.domain.methods import Method
from farm.domain.models import Tensor
from farm.domain.precisions import PRECISIONS
from farm.domain.targets import DeviceKind, ToolchainId
from farm.domain.toolchains import ToolchainDescription
from workers.toolchains.cuda_stream import CudaStream
from workers.toolchains.onnxruntime_cuda_sessions import numpys_name, session_by, sessions_by
from workers.toolchains.onnxruntime_files import GRAPH, WEIGHTS, is_large, pack
from workers.toolchains.toolchain import BuildInput, BuildOutput, TimedSession

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from workers.toolchains.toolchain import Progress

_PROVIDER = "CUDAExecutionProvider"
_RECIPE = "recipe.json"
_WEIGHTS_FILE = "session.optimized_model_external_initializers_file_name"


def toolchain() -> OnnxRuntimeCudaToolchain:
    """The toolchain of this interpreter's ONNX Runtime.

    Raises:
        ImportError: it has no CUDA execution provider.
    """
    if _PROVIDER not in ort.get_available_providers():
        raise ImportError(
            f"onnxruntime {ort.__version__} has no {_PROVIDER}: the package onnxruntime-gpu has, in its place"
        )
    return OnnxRuntimeCudaToolchain()


class OnnxRuntimeCudaToolchain:
    """Optimizes a model for the CUDA execution provider, and runs it there."""

    def describe(self) -> ToolchainDescription:
        """Name, exact version, and what it can do."""
        reason = "the CUDA execution provider computes in the model's types; nearest: tf32"
        return ToolchainDescription(
            id=ToolchainId("onnxruntime-cuda", ort.__version__, f"cu{_cuda_release().replace('.', '')}"),
            precisions={name: "" if name in ("fp32", "tf32") else reason for name in PRECISIONS},
            serves=DeviceKind.GPU,
            needs_device=True,
            precision_notes={
                name: f"CUDAExecutionProvider, use_tf32={int(name == 'tf32')}" for name in ("fp32", "tf32")
            },
        )

    def build(self, build: BuildInput, progress: Progress) -> BuildOutput:
        """Optimizes the model on the visible GPU, and packs it with how it is run.

        Raises:
            InvalidModelError: ONNX Runtime does not take the model.
            OutOfMemoryError: the device or the host was too small.
            BuildError: the provider does not load: its CUDA libraries are missing.
            DeviceUnavailableError: there is no GPU.
        """
        progress(None, "optimizing the graph")
        options = _session_options(ort.GraphOptimizationLevel.ORT_ENABLE_ALL)
        stream = CudaStream()
        with tempfile.TemporaryDirectory(dir=build.engine_path.parent) as folder:
            graph, weights, recipe = (Path(folder) / name for name in (GRAPH, WEIGHTS, _RECIPE))
            options.optimized_model_filepath = str(graph)
            if is_large(build.model_path):
                options.add_session_config_entry(_WEIGHTS_FILE, WEIGHTS)
            _open(build.model_path, options, stream, build.precision)
            recipe.write_text(json.dumps({"precision": build.precision}))
            pack([path for path in (graph, weights, recipe) if path.exists()], build.engine_path)
        stream.close()
        return BuildOutput(precision_note=f"{_PROVIDER}, use_tf32={int(build.precision == 'tf32')}")

    def load(self, engine_path: Path) -> LoadedOnCuda:
        """Loads an optimized model as it is.

        Raises:
            BuildError: these bytes are none, or the provider does not load.
            DeviceUnavailableError: there is no GPU.
        """
        return LoadedOnCuda(engine_path)


class LoadedOnCuda:
    """A session on the GPU, on a stream of its own."""

    def __init__(self, path: Path) -> None:
        self._stream = CudaStream()
        with _unpacked(path) as folder:
            precision = json.loads((folder / _RECIPE).read_text())["precision"]
            options = _session_options(ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
            self._session: Any = _open(folder / GRAPH, options, self._stream, precision)
        self.inputs = tuple(map(_tensor, self._session.get_inputs()))
        self.outputs = tuple(map(_tensor, self._session.get_outputs()))

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs for some inputs."""
        try:
            values = self._session.run(None, dict(inputs))
        except Exception as error:
            raise _translated(error, InvalidSpecError) from error
        return {tensor.name: value for tensor, value in zip(self.outputs, values)}

    def timed_sessions(self, inputs: Mapping[str, NDArray[Any]]) -> list[TimedSession]:
        """Plain launches with transfers."""
        return [session_by(ort, self._session, self._stream, [inputs], Method())]

    def sessions_by(
        self,
        inputs: Sequence[Mapping[str, NDArray[Any]]],
        methods: Sequence[Method],
        *,
        is_blocking: bool = False,
    ) -> Iterator[TimedSession]:
        """With and without transfers, as far as a method asks for them."""
        return sessions_by(ort, self._session, self._stream, inputs, methods, is_blocking=is_blocking)

    def close(self) -> None:
        """Lets the session go, then its stream."""
        self._session = None
        self._stream.close()


def _cuda_release() -> str:
    """The release of CUDA that the package was built for; empty if it does not say."""
    from onnxruntime.capi import build_and_package_info

    return str(getattr(build_and_package_info, "cuda_version", "") or "")


def _session_options(level: Any) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = level
    return options


def _open(path: Path, options: Any, stream: CudaStream, precision: str) -> Any:
    own = {
        "device_id": "0",
        "user_compute_stream": str(stream.handle),
        "use_tf32": str(int(precision == "tf32")),
    }
    if hasattr(ort, "preload_dlls"):
        # CUDA's libraries from NVIDIA's packages, where they are installed beside it.
        ort.preload_dlls()
    try:
        session = ort.InferenceSession(
            str(path), options, providers=[(_PROVIDER, own), "CPUExecutionProvider"]
        )
    except Exception as error:
        raise _translated(error, InvalidModelError) from error
    # Where the provider does not load ONNX Runtime warns, and goes on without it.
    if _PROVIDER not in session.get_providers():
        raise BuildError(
            f"ONNX Runtime {ort.__version__} could not load its {_PROVIDER}, and would run on the CPU",
            hint=f"It needs the libraries of CUDA {_cuda_release()} (cuBLAS, cuRAND, the runtime) on the library path; "
            "the log names what is missing.",
        )
    return session


@contextmanager
def _unpacked(path: Path) -> Iterator[Path]:
    """A folder with the files of an engine.

    Raises:
        BuildError: it is none.
    """
    if not zipfile.is_zipfile(path):
        raise BuildError(f"{path.name} is no engine of onnxruntime-cuda")
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, zipfile.ZipFile(path) as archive:
        if not {GRAPH, _RECIPE} <= set(archive.namelist()) <= {GRAPH, WEIGHTS, _RECIPE}:
            raise BuildError(f"{path.name} is an archive, but no engine of onnxruntime-cuda")
        archive.extractall(folder)
        yield Path(folder)


def _translated(error: Exception, refusal: type[InvalidModelError] | type[InvalidSpecError]) -> Exception:
    text = one_line(error)
    if isinstance(error, MemoryError) or "Failed to allocate memory" in text or "out of memory" in text:
        return OutOfMemoryError(f"ONNX Runtime has no room: {text}", hint="Ask for smaller shapes.")
    if type(error).__name__ in (
        "NotImplemented",
        "InvalidGraph",
        "InvalidProtobuf",
        "InvalidArgument",
        "NoSuchFile",
    ):
        return refusal(f"ONNX Runtime {ort.__version__} does not take it: {text}")
    return BuildError(f"ONNX Runtime {ort.__version__} failed: {text}")


def _tensor(argument: Any) -> Tensor:
    shape = tuple(size if isinstance(size, int) else -1 for size in argument.shape)
    symbols = tuple(size if isinstance(size, str) else "" for size in argument.shape)
    return Tensor(argument.name, numpys_name(argument.type), shape, symbols)
