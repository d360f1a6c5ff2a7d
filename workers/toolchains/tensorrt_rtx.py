"""TensorRT-RTX 1.5 and later: builds ahead of time for one compute capability, without a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Sequence

from farm.domain.errors import BuildError, DeviceUnavailableError, InvalidSpecError
from farm.domain.model_formats import NETWORK, ONNX
from farm.domain.targets import DeviceKind, ToolchainId
from farm.domain.toolchains import ToolchainDescription
from workers.toolchains.conversion_options import conversion_options, without_conversion
from workers.toolchains.cuda_engine import load_engine
from workers.toolchains.toolchain import BuildInput, BuildOutput, Progress
from workers.toolchains.trt_build import build_plan, write_plan
from workers.toolchains.trt_definition import fill_network
from workers.toolchains.trt_io import apply_io_formats, io_formats_of
from workers.toolchains.trt_log import log_of
from workers.toolchains.trt_network import create_builder, create_network
from workers.toolchains.trt_options import apply_options, options_of
from workers.toolchains.trt_plan import RTX_MAGIC, check_plan
from workers.toolchains.trt_plugins import load_plugins
from workers.toolchains.trt_precision import apply_precision, precision_notes_of, precisions_of
from workers.toolchains.trt_profiles import add_profiles
from workers.toolchains.trt_release import installed_variant, version_of

if TYPE_CHECKING:
    from pathlib import Path

    from workers.toolchains.cuda_engine import CudaEngine

#: Before it the module has the surface of TensorRT 10 (flags for FP16, explicit batch).
_OLDEST = (1, 5)
#: What changes the engine. The other options are taken and do nothing (the same bytes came out for every
#: value: measured on 1.7.1 for 8.9, see farm/domain/option_releases.py, which has the reason for each), so
#: that offering them would only split the key; or they fail without a GPU. Measured of those here: WEIGHT_STREAMING gives
#: other bytes of the same size, DIRECT_IO gives other bytes where an input has a format of its own and only then,
#: -RUNTIME_ACTIVATION_RESIZE_10_10, which is on by default, gives a smaller engine. REFIT_INDIVIDUAL alone gives
#: other bytes too, but fails like REFIT as soon as one weight is marked.
_EFFECTIVE = (
    "profiling_verbosity",
    "memory_pool_limits.WORKSPACE",
    "memory_pool_limits.TACTIC_SHARED_MEMORY",
    "preview_features",
    "weight_streaming",
    "direct_io",
)


def toolchain() -> TensorRtRtxToolchain:
    """TensorRT-RTX, as it is installed in this interpreter.

    Raises:
        ImportError: it is not installed, does not load, or is too old.
    """
    try:
        import tensorrt_rtx
    except OSError as error:
        raise ImportError(f"TensorRT-RTX is installed, but does not load: {error}") from error
    if version_of(tensorrt_rtx)[:2] < _OLDEST:
        raise ImportError(
            f"TensorRT-RTX {tensorrt_rtx.__version__} is too old: install tensorrt-rtx>=1.5, "
            f"which has the surface of TensorRT 11"
        )
    return TensorRtRtxToolchain(tensorrt_rtx)


class TensorRtRtxToolchain:
    """TensorRT-RTX behind the toolchain protocol."""

    def __init__(self, trt: Any) -> None:
        self._trt = trt

    def describe(self) -> ToolchainDescription:
        """Name, exact version, and what this release can do."""
        trt = self._trt
        identity = ToolchainId("tensorrt-rtx", trt.__version__, installed_variant(trt))
        return ToolchainDescription(
            id=identity,
            precisions=precisions_of(trt, identity),
            options=(*options_of(trt, _EFFECTIVE), *conversion_options()),
            serves=DeviceKind.COMPUTE_CAPABILITY,
            compute_capabilities=tuple(capabilities_of(trt)),
            needs_device=False,
            precision_notes=precision_notes_of(trt),
            is_deterministic=True,
            model_formats=(ONNX, NETWORK),
            io_formats=io_formats_of(trt),
            takes_plugins=True,
        )

    def build(self, build: BuildInput, progress: Progress) -> BuildOutput:
        """Builds for one compute capability and writes the plan; no GPU is looked for.

        Rebuilds are byte-identical, with one exception, which is why a process must build once only:
        after a build for 7.5 was refused (FP32 GEMM), every later build of that process comes out
        with other bytes (1.7.1, with NVIDIA's API alone). The farm's child ends after one attempt.

        Raises:
            BuildError: the builder refused; the message has its reason.
            InvalidModelError: the parser does not take the model; names the node.
            InvalidSpecError: the capability, an option, a precision or a profile does not fit.
            OutOfMemoryError: the host was too small.
        """
        trt, log = self._trt, log_of(self._trt)
        log.forget()
        self.load_plugins(build.plugin_paths, build.model_path)
        progress(None, "parsing")
        # All of these are held until the end: TensorRT frees what Python forgets.
        builder = create_builder(trt, log, needs_device=False)
        network = create_network(trt, builder, log)
        _filled_by = fill_network(trt, network, log, build.model_path)
        config = builder.create_builder_config()
        _set_target(trt, config, build.compute_capability)
        apply_options(trt, config, without_conversion(build.builder_config), log, _EFFECTIVE)
        note = apply_precision(trt, config, build.precision, strongly_typed=True)
        add_profiles(builder, config, network, build.profiles, log)
        apply_io_formats(trt, network, build.io_formats, log)
        # No timing cache: nothing is timed, and setting one only warns that it does nothing.
        plan = build_plan(trt, builder, network, config, log, progress, needs_device=False)
        write_plan(plan, build.engine_path)
        # Layers and device memory of the engine are told by a loaded one only, which needs a GPU.
        details = {"network_layers": network.num_layers, "plan_bytes": plan.nbytes}
        progress(1.0, "built")
        return BuildOutput(precision_note=build.conversion or note, details=details)

    def load_plugins(self, paths: Sequence[Path], used_by: Path) -> None:
        """Loads plugin libraries, and NVIDIA's own plugins if a model's or an engine's file names any.

        Raises:
            InvalidSpecError: one does not load; has the loader's words.
        """
        load_plugins(self._trt, log_of(self._trt), paths, used_by)

    def load(self, engine_path: Path) -> CudaEngine:
        """Loads a plan onto the visible GPU, which must have the capability that it is for.

        Raises:
            BuildError: these bytes are not an engine of this version.
            DeviceUnavailableError: there is no GPU here, or one of another capability.
        """
        trt = self._trt
        check_plan(engine_path, RTX_MAGIC, version_of(trt))

        def create_context(engine: Any) -> Any:
            # The default compiles the kernels for the shapes at hand after the first inferences,
            # beside them, so that early figures would be those of other kernels.
            settings = engine.create_runtime_config()
            strategies = trt.DynamicShapesKernelSpecializationStrategy
            settings.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
            return engine.create_execution_context(settings)

        def check_validity(runtime: Any, plan: Any) -> None:
            _check_validity(trt, runtime, plan)

        return load_engine(
            trt, log_of(trt), engine_path, create_context=create_context, check_plan=check_validity
        )


def capabilities_of(trt: Any) -> dict[str, Any]:
    """The compute capabilities that a release can be told to build for: `{"8.9": SM89}`."""
    members = trt.ComputeCapability.__members__
    found = {f"{name[2:-1]}.{name[-1]}": member for name, member in members.items() if name[:2] == "SM"}
    return dict(sorted(found.items(), key=lambda item: tuple(map(int, item[0].split(".")))))


def _set_target(trt: Any, config: Any, capability: str) -> None:
    known = capabilities_of(trt)
    if capability not in known:
        raise InvalidSpecError(
            f"TensorRT-RTX {trt.__version__} can not build for compute capability {capability or 'none'}",
            hint=f"It builds for {', '.join(known)}.",
        )
    config.num_compute_capabilities = 1
    if not config.set_compute_capability(known[capability], 0):
        raise InvalidSpecError(f"TensorRT-RTX {trt.__version__} refuses compute capability {capability}")


def _check_validity(trt: Any, runtime: Any, plan: Any) -> None:
    """Refuses a plan by what TensorRT-RTX says of it, in the farm's words. Needs a GPU to say it."""
    validity, diagnostics = runtime.get_engine_validity(plan)
    if validity != trt.EngineValidity.INVALID:
        return
    bits = trt.EngineInvalidityDiagnostics.__members__
    said = [name for name, member in bits.items() if int(diagnostics) & int(member)]
    message = (
        f"TensorRT-RTX {trt.__version__} can not run this engine here: {', '.join(said) or 'no reason given'}"
    )
    if {"UNSUPPORTED_CC", "OLD_CUDA_DRIVER", "OLD_CUDA_RUNTIME", "INSUFFICIENT_GPU_MEMORY"} & set(said):
        raise DeviceUnavailableError(message, hint="Run it on a GPU of the capability that it was built for.")
    if said:
        raise BuildError(message)
