"""TensorRT 8.5, 8.6, 10 and 11: builds on the GPU that the engine is for."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Sequence

from farm.domain.errors import FarmError
from farm.domain.targets import DeviceKind, ToolchainId
from farm.domain.toolchains import ToolchainDescription
from workers.toolchains.cuda_driver import require_device
from workers.toolchains.cuda_engine import create_runtime, device_memory_bytes, load_engine
from workers.toolchains.toolchain import BuildInput, BuildOutput, Progress
from workers.toolchains.trt_build import build_plan, write_plan
from workers.toolchains.trt_cache import cache_facts, combine_caches, keep_timing_cache, offer_timing_cache
from workers.toolchains.trt_calibration import set_calibrator
from workers.toolchains.trt_log import TrtLog, log_of
from workers.toolchains.trt_network import add_profiles, create_builder, create_network, parse_model
from workers.toolchains.trt_options import apply_options, options_of
from workers.toolchains.trt_plan import TENSORRT_MAGIC, check_plan
from workers.toolchains.trt_precision import apply_precision, precision_notes_of, precisions_of
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
#: Layer information beyond this many characters is left out of the result.
_LAYER_INFORMATION_CHARACTERS = 64 << 10


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
            options=options_of(trt),
            serves=DeviceKind.GPU,
            compute_capabilities=next(pair for since, pair in _CAPABILITIES if version_of(trt)[:2] >= since),
            needs_device=True,
            precision_notes=precision_notes_of(trt),
            max_opset=max_opset(trt),
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
        progress(None, "parsing")
        # All of these are held until the end: TensorRT frees what Python forgets.
        builder = create_builder(trt, log)
        network = create_network(trt, builder, log)
        _parser = parse_model(trt, network, log, build.model_path)
        config = builder.create_builder_config()
        apply_options(trt, config, build.builder_config, log)
        note = apply_precision(trt, config, build.precision)
        add_profiles(builder, config, network, build.profiles, log)
        calibrator = None
        if build.calibration is not None:
            calibrator = set_calibrator(
                trt, builder, config, network, build.calibration, build.profiles, progress
            )
        uses_cache = build.builder_config.get("timing_cache", True)
        cache_taken = uses_cache and offer_timing_cache(config, log, build.timing_cache_in)
        try:
            plan = build_plan(trt, builder, network, config, log, progress, needs_device=True)
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
        facts = _engine_facts(trt, log, plan)
        details = {
            "network_layers": network.num_layers,
            "plan_bytes": plan.nbytes,
            "timing_cache_taken": cache_taken,
            **facts.pop("details", {}),
        }
        return BuildOutput(
            precision_note=note,
            timing_cache_written=cache_kept,
            timing_cache={"taken": cache_taken} if uses_cache else None,
            details=details,
            **facts,
        )

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

    def load(self, engine_path: Path) -> CudaEngine:
        """Loads a plan onto the visible GPU.

        Raises:
            BuildError: these bytes are not an engine of this version for this device.
            DeviceUnavailableError: there is no GPU here.
        """
        check_plan(engine_path, TENSORRT_MAGIC, version_of(self._trt))
        return load_engine(self._trt, log_of(self._trt), engine_path)


def variant_of(trt: Any) -> str:
    """The CUDA line that the module was built for, such as `cu12`; empty if nothing says so."""
    version = version_of(trt)
    if version[:2] in _VARIANTS_OF_8:
        return _VARIANTS_OF_8[version[:2]]
    return installed_variant(trt)


def _engine_facts(trt: Any, log: TrtLog, plan: Any) -> dict[str, Any]:
    """What the finished engine says of itself; nothing if it can not be loaded, which `load` reports."""
    log.forget()
    try:
        runtime = create_runtime(trt, log)
    except FarmError:
        return {}
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        return {}
    information = _layer_information(trt, engine)
    return {
        "device_memory_bytes": device_memory_bytes(engine),
        "layers": int(engine.num_layers),
        "details": {} if information is None else {"layer_information": information},
    }


def _layer_information(trt: Any, engine: Any) -> Any | None:
    inspector = engine.create_engine_inspector()
    text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    if not text or len(text) > _LAYER_INFORMATION_CHARACTERS:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None
