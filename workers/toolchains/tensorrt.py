"""TensorRT 8.5, 8.6, 10 and 11: builds on the GPU that the engine is for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Sequence

from farm.domain.conversion import is_strongly_typed
from farm.domain.errors import BuildError, FarmError, InvalidSpecError
from farm.domain.io_formats import IO_SCALES
from farm.domain.model_formats import NETWORK, ONNX
from farm.domain.targets import DeviceKind, ToolchainId
from farm.domain.toolchains import BuilderOption, ToolchainDescription
from workers.toolchains.conversion_options import conversion_options, without_conversion
from workers.toolchains.cuda_driver import require_device
from workers.toolchains.cuda_engine import load_engine
from workers.toolchains.toolchain import BuildInput, BuildOutput, Progress
from workers.toolchains.trt_build import build_plan, write_plan
from workers.toolchains.trt_cache import cache_facts, combine_caches, keep_timing_cache, offer_timing_cache
from workers.toolchains.trt_calibration import calibration_details, set_calibrator
from workers.toolchains.trt_deconvolutions import take_deconvolutions_out_of_int8
from workers.toolchains.trt_definition import fill_network
from workers.toolchains.trt_io import (
    apply_io_formats,
    io_formats_of,
    io_types_of,
    scales_from_cache,
)
from workers.toolchains.trt_kept_layers import keep_layers
from workers.toolchains.trt_layers import engine_facts
from workers.toolchains.trt_log import TrtLog, log_of
from workers.toolchains.trt_network import create_builder, create_network, has_quantize_layers
from workers.toolchains.trt_options import apply_options, options_of
from workers.toolchains.trt_options_flags import mark_refittable_weights
from workers.toolchains.trt_options_values import require_dla
from workers.toolchains.trt_plan import TENSORRT_MAGIC, check_plan
from workers.toolchains.trt_plugins import load_plugins
from workers.toolchains.trt_precision import apply_precision, precision_notes_of, precisions_of
from workers.toolchains.trt_profiles import add_profiles
from workers.toolchains.trt_refit import refit_engine
from workers.toolchains.trt_release import installed_variant, max_opset, version_of

if TYPE_CHECKING:
    from pathlib import Path

    from workers.toolchains.cuda_engine import CudaEngine

#: First releases of which the lowest and highest compute capability hold, newest first (NVIDIA's
#: support matrices; 11's floor is not verified). Wider than any one GPU line-up on purpose: what is
#: let through wrongly is refused by the builder, with its reason.
_CAPABILITIES = (
    ((10, 8), ("7.5", "12.1")),
    ((10, 5), ("7.5", "9.0")),
    ((10, 0), ("7.0", "9.0")),
    ((8, 0), ("5.0", "9.0")),
)
#: What wheels of TensorRT 8 were built against; later ones are named after it.
_VARIANTS_OF_8: dict[tuple[int, ...], str] = {(8, 5): "cu11", (8, 6): "cu12"}
_OLDEST = (8, 5)


def toolchain() -> TensorRtToolchain:
    """TensorRT, as it is installed in this interpreter.

    Raises:
        ImportError: it is not installed, does not load, or is too old.
    """
    try:
        import tensorrt
    except OSError as error:  # TensorRT 8 loads its libraries with ctypes
        raise ImportError(f"TensorRT is installed, but does not load: {error}") from error
    if version_of(tensorrt)[:2] < _OLDEST:
        raise ImportError(f"TensorRT {tensorrt.__version__} is too old: its tensors have no names before 8.5")
    return TensorRtToolchain(tensorrt)


class TensorRtToolchain:
    """TensorRT behind the toolchain protocol."""

    def __init__(self, trt: Any) -> None:
        self._trt = trt

    def describe(self) -> ToolchainDescription:
        """Name, exact version, and what this release can do."""
        trt = self._trt
        identity = ToolchainId("tensorrt", trt.__version__, variant_of(trt))
        return ToolchainDescription(
            id=identity,
            precisions=precisions_of(trt, identity),
            options=(*options_of(trt), *_conversion_options(trt)),
            serves=DeviceKind.GPU,
            compute_capabilities=next(pair for since, pair in _CAPABILITIES if version_of(trt)[:2] >= since),
            needs_device=True,
            precision_notes=precision_notes_of(trt),
            max_opset=max_opset(trt),
            model_formats=(ONNX, NETWORK),
            io_formats=io_formats_of(trt),
            io_types=io_types_of(trt),
            takes_plugins=True,
        )

    def build(self, build: BuildInput, progress: Progress) -> BuildOutput:
        """Builds on the visible GPU and writes the plan.

        Raises:
            BuildError: the builder refused; the message has its reason.
            InvalidModelError: the parser does not take the model; names the node.
            InvalidSpecError: an option, a precision or a profile does not fit.
            OutOfMemoryError: the device or the host was too small.
            DeviceUnavailableError: there is no GPU here.
        """
        require_device()
        log = log_of(self._trt)
        log.forget()
        log.cache_lines.clear()
        output = self._build(build, progress, log)
        if output.timing_cache is None:
            return output
        # TensorRT tells of a cache's hits when it frees it: with the frame that has just been left.
        facts = cache_facts(log.cache_lines)
        if not output.timing_cache["taken"]:
            # It began with an empty one, whatever was loaded and put aside.
            facts["entries_before"] = 0
        return replace(output, timing_cache={**output.timing_cache, **facts})

    def _build(self, build: BuildInput, progress: Progress, log: TrtLog) -> BuildOutput:
        trt = self._trt
        self.load_plugins(build.plugin_paths, build.model_path)
        progress(None, "parsing")
        # All of these are held until the end: TensorRT frees what Python forgets.
        builder = create_builder(trt, log)
        require_dla(builder, build.builder_config, log)
        typed = is_strongly_typed(self.describe().id, build.precision, build.builder_config)
        network = create_network(trt, builder, log, strongly_typed=typed)
        _filled_by = fill_network(trt, network, log, build.model_path)
        config = builder.create_builder_config()
        apply_options(trt, config, without_conversion(build.builder_config), log)
        mark_refittable_weights(network, build.builder_config, log)
        note = apply_precision(
            trt,
            config,
            build.precision,
            strongly_typed=typed,
            capability=build.compute_capability,
            has_ranges=build.calibration is not None or has_quantize_layers(trt, network),
        )
        kept = "" if typed else keep_layers(trt, network, config, build.kept_layers)
        add_profiles(builder, config, network, build.profiles, log)
        calibrator = None
        if build.calibration is not None and not typed:
            calibrator = set_calibrator(
                trt, builder, config, network, build.calibration, build.profiles, progress
            )
        # After the calibrator, which takes its samples in the model's own types.
        became_int8 = apply_io_formats(trt, network, build.io_formats, log)
        if became_int8 and calibrator is None:
            raise InvalidSpecError(
                f"{became_int8[0]!r} as int8 needs the scales of a calibration, and this build is not calibrated"
            )
        uses_cache = build.builder_config.get("timing_cache", True)
        cache_taken = uses_cache and offer_timing_cache(config, log, build.timing_cache_in)

        def run_builder() -> Any:
            return build_plan(trt, builder, network, config, log, progress, needs_device=True)

        in_floats = ""
        try:
            try:
                plan = run_builder()
            except BuildError:
                in_floats = take_deconvolutions_out_of_int8(trt, network, config, log)
                if not in_floats:
                    raise
                # The timings and the calibration of the first build are still there.
                plan = run_builder()
        except FarmError:
            if calibrator is not None and calibrator.feed.error is not None:
                # What TensorRT says of it is that there were no samples.
                raise calibrator.feed.error from None
            raise
        finally:
            if calibrator is not None:
                calibrator.feed.close()
        write_plan(plan, build.engine_path)
        cache_kept = uses_cache and keep_timing_cache(config, build.timing_cache_out)
        progress(1.0, "reading the engine's facts")
        facts = engine_facts(trt, log, plan, build.layers_path)
        details = {
            "network_layers": network.num_layers,
            "plan_bytes": plan.nbytes,
            "timing_cache_taken": cache_taken,
            **calibration_details(calibrator),
            **_scales_of(calibrator, became_int8),
        }
        return BuildOutput(
            precision_note=", ".join(filter(None, [build.conversion or note, kept, in_floats])),
            timing_cache_written=cache_kept,
            timing_cache={"taken": cache_taken} if uses_cache else None,
            details=details,
            **facts,
        )

    def refit(self, build: BuildInput, progress: Progress) -> BuildOutput:
        """Writes the engine at `refit_path` with the weights beside it.

        Raises:
            BuildError: the engine is not refittable, or has weights that the model does not name.
            DeviceUnavailableError: there is no GPU here.
        """
        require_device()
        self.load_plugins(build.plugin_paths, build.model_path)
        return refit_engine(self._trt, log_of(self._trt), build, progress)

    def merge_timing_caches(self, paths: Sequence[Path], merged_path: Path) -> list[bool]:
        """Writes one cache with the entries of several; for each whether it was taken.

        Raises:
            DeviceUnavailableError: there is no GPU here, and caches are made by a builder, which wants one.
        """
        require_device()
        trt, log = self._trt, log_of(self._trt)
        log.forget()
        builder = create_builder(trt, log)
        return combine_caches(builder.create_builder_config(), log, paths, merged_path)

    def load_plugins(self, paths: Sequence[Path], used_by: Path) -> None:
        """Loads plugin libraries, and NVIDIA's own plugins if a model's or an engine's file names any.

        Raises:
            InvalidSpecError: one does not load; has the loader's words.
        """
        load_plugins(self._trt, log_of(self._trt), paths, used_by)

    def load(self, engine_path: Path) -> CudaEngine:
        """Loads a plan onto the visible GPU.

        Raises:
            BuildError: these bytes are not an engine of this version for this device.
            DeviceUnavailableError: there is no GPU here.
        """
        check_plan(engine_path, TENSORRT_MAGIC, version_of(self._trt))
        return load_engine(self._trt, log_of(self._trt), engine_path)


def _scales_of(calibrator: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """What one step of every int8 input and output is worth, where the model has another type there."""
    return {IO_SCALES: scales_from_cache(bytes(calibrator.cache), names)} if names else {}


def _conversion_options(trt: Any) -> tuple[BuilderOption, ...]:
    """Where a network may have the model's own types, with calibrators beside that or without."""
    if not hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        return ()
    own = {option.name for option in options_of(trt)}
    return tuple(option for option in conversion_options() if option.name not in own)


def variant_of(trt: Any) -> str:
    """The CUDA line that the module was built for, such as `cu12`; empty if nothing says so."""
    version = version_of(trt)
    if version[:2] in _VARIANTS_OF_8:
        return _VARIANTS_OF_8[version[:2]]
    return installed_variant(trt)
