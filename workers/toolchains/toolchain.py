"""What every toolchain must do. Values in, values out; a refusal is a `FarmError`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, NamedTuple, Optional, Protocol, Sequence, runtime_checkable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from farm.domain.layer_times import LayerEvent
    from farm.domain.models import Tensor
    from farm.domain.shapes import ShapeRange
    from farm.domain.toolchains import ToolchainDescription


class Progress(Protocol):
    """Tells the user's progress bar where a phase stands."""

    def __call__(self, fraction: float | None, message: str) -> None:
        """Reports a share of the phase from 0 to 1, or none if it is not known, and what is going on."""


#: The file beside an engine that is refitted: its new weights.
REFIT_WEIGHTS = "weights.npz"
#: In an engine's details: what a calibration cache did for its build.
CALIBRATION_CACHE = "calibration_cache"


#: Of a `CalibrationInput`.
_CALIBRATION_PATHS = ("data_path", "cache_in", "cache_out")


@dataclass(frozen=True)
class CalibrationInput:
    """What to calibrate INT8 with.

    Attributes:
        data_path: an `.npz` with an array per input, its first axis the samples; none for random ones.
        algorithm: a `CalibrationAlgoType` by name.
        batch: how many samples go in at once.
        samples: how many of them are used; 0 for all.
        seed: of the random ones.
        cache_in: the calibration cache of an earlier build with the same model, data and algorithm; none if there is none.
        cache_out: where to write the calibration cache; none if nobody wants it. What became of both is told in the
            details of the output under `CALIBRATION_CACHE`: `taken` (then nothing was calibrated), `entries`, and `note`
            where the lent one was not used.
    """

    algorithm: str
    data_path: Path | None = None
    batch: int = 1
    samples: int = 0
    seed: int = 0
    cache_in: Path | None = None
    cache_out: Path | None = None

    def as_json(self) -> dict[str, Any]:
        """The form in a child's request."""
        paths = {name: getattr(self, name) for name in _CALIBRATION_PATHS}
        return {**vars(self), **{name: None if path is None else str(path) for name, path in paths.items()}}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CalibrationInput:
        """The inverse of `as_json`."""
        paths = {name: value[name] for name in _CALIBRATION_PATHS}
        return cls(
            **{**value, **{name: None if path is None else Path(path) for name, path in paths.items()}}
        )


@dataclass(frozen=True)
class BuildInput:
    """What to build, with files in place.

    Attributes:
        model_path: the ONNX file, its external data beside it.
        engine_path: where the engine is to be written.
        precision: one that the toolchain described as supported.
        builder_config: canonical options that differ from their defaults, such as
            `{"builder_optimization_level": 4, "memory_pool_limits.WORKSPACE": 4294967296}`.
        profiles: optimization profiles: a range for every dynamic input; empty for a static model.
        compute_capability: of the target, such as `8.9`; empty for a CPU.
        timing_cache_in: an earlier timing cache, if there is one.
        timing_cache_out: where to write the timing cache after the build.
        calibration: what to calibrate with; none if nothing is calibrated.
        io_formats: types and formats of inputs and outputs that are not as in the model, such as
            `{"input": "fp16:chw16"}`.
        plugin_paths: plugin libraries to load before the model is parsed.
        kept_layers: nodes that stay in FP32, by name.
        conversion: how the model was converted before it came here, such as `FP16 by ONNX Runtime 1.31.1`;
            empty for a model as it was submitted. A converted model has its precision in its types.
        layers_path: where to write what the engine tells of its layers (JSON); none if nobody wants to know.
        refit_path: an engine whose weights are to be replaced by the model's, in place of a build, with the weights
            beside it in `REFIT_WEIGHTS`, an array per name; none to build.
        program_path: the PyTorch model that the ONNX file was exported from, for a toolchain that runs that one; none
            for the others.
    """

    model_path: Path
    engine_path: Path
    precision: str
    builder_config: Mapping[str, Any] = field(default_factory=dict)
    profiles: tuple[Mapping[str, ShapeRange], ...] = ()
    compute_capability: str = ""
    timing_cache_in: Path | None = None
    timing_cache_out: Path | None = None
    calibration: CalibrationInput | None = None
    io_formats: Mapping[str, str] = field(default_factory=dict)
    plugin_paths: tuple[Path, ...] = ()
    kept_layers: tuple[str, ...] = ()
    conversion: str = ""
    layers_path: Path | None = None
    refit_path: Path | None = None
    program_path: Path | None = None


@dataclass(frozen=True)
class BuildOutput:
    """What a build left behind, beside the engine's file.

    Attributes:
        precision_note: how the precision was honoured, such as `BuilderFlag.FP16, weakly typed`.
        device_memory_bytes: what an execution context takes; 0 if not known.
        layers: number of layers in the engine; 0 if not known.
        timing_cache_written: whether `timing_cache_out` holds a cache worth lending.
        details: anything else worth keeping, as JSON.
        timing_cache: what the timing cache did, where there is such a thing and it was used: `taken`, whether
            `timing_cache_in` was; `entries_before`, `entries_after` and `hits` where the builder tells.
    """

    precision_note: str = ""
    device_memory_bytes: int = 0
    layers: int = 0
    timing_cache_written: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)
    timing_cache: Optional[Mapping[str, Any]] = None


class IterationTimes(NamedTuple):
    """One inference, in milliseconds. On a CPU the transfers take none."""

    h2d_ms: float
    compute_ms: float
    d2h_ms: float


class TimedSession(Protocol):
    """An engine with inputs of one shape in place, ready to run again and again."""

    #: Whether the launches are replayed from a CUDA graph.
    is_graph: bool
    #: Whether there are transfers to speak of.
    has_transfers: bool

    def iterate(self) -> IterationTimes:
        """Copies the inputs in, runs once, copies the outputs out, and waits; each part timed."""

    def burst(self, count: int) -> float:
        """Runs `count` times back to back without transfers; the host's seconds from first to last."""

    def close(self) -> None:
        """Gives the buffers back."""


class LoadedEngine(Protocol):
    """An engine, live on the one device that the process sees."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs for inputs of any shape within the profile.

        Raises:
            FarmError: an input is missing or does not fit, or the device failed.
        """

    def timed_sessions(self, inputs: Mapping[str, NDArray[Any]]) -> list[TimedSession]:
        """The ways to time the engine on these inputs: plain, and as a CUDA graph where it can be."""

    def close(self) -> None:
        """Gives everything back, in the order that the libraries want."""


@runtime_checkable
class ProfilesLayers(Protocol):
    """What a loaded engine can do whose layers can be timed one by one; the others leave it out."""

    #: What times them: `IProfiler`, `ONNX Runtime`.
    layer_profiler: str

    def profile_layers(
        self, inputs: Mapping[str, NDArray[Any]], iterations: int
    ) -> Sequence[Sequence[LayerEvent]]:
        """Runs some iterations under the profiler; for each its layers in the order in which they ran.

        It disturbs what it times, and may do so to the end of the engine's life: nothing is timed afterwards.
        """


class Toolchain(Protocol):
    """A build software stack, imported in this interpreter."""

    def describe(self) -> ToolchainDescription:
        """Name, exact version, and what it can do. Needs no device."""

    def build(self, build: BuildInput, progress: Progress) -> BuildOutput:
        """Builds and writes the engine.

        Raises:
            BuildError: the toolchain refused; the message names the node or the option.
            OutOfMemoryError: the device or the host was too small.
            InvalidModelError: the parser does not take the model; names the node.
        """

    def load(self, engine_path: Path) -> LoadedEngine:
        """Loads an engine onto the device that the process sees.

        Raises:
            BuildError: these bytes are not an engine of this version for this device.
            DeviceUnavailableError: there is no such device here.
        """


class Refits(Protocol):
    """What a toolchain can do whose engines' weights can be replaced; the others leave it out."""

    def refit(self, build: BuildInput, progress: Progress) -> BuildOutput:
        """Writes the engine at `refit_path` with the weights beside it.

        Raises:
            BuildError: the engine is not refittable, or has weights that no array is named after.
            DeviceUnavailableError: there is no device here, and engines are loaded by one.
        """


class LoadsPlugins(Protocol):
    """What a toolchain can do that takes plugin libraries; the others leave it out."""

    def load_plugins(self, paths: Sequence[Path], used_by: Path) -> None:
        """Loads libraries into the process, in their order; the one at `used_by` is what needs them.

        Raises:
            InvalidSpecError: one does not load; has the loader's words.
        """


class TakesScales(Protocol):
    """What an engine can do whose int8 inputs and outputs stand for floats; the others leave it out."""

    def use_scales(self, scales: Mapping[str, float]) -> None:
        """From now on the named tensors take and give floats; a scale is what one step is worth."""


class MergesTimingCaches(Protocol):
    """What a toolchain can do whose builder has timing caches; the others leave it out."""

    def merge_timing_caches(self, paths: Sequence[Path], merged_path: Path) -> list[bool]:
        """Writes one cache with the entries of several; of two for one tactic the earlier path's holds.

        Returns:
            For every path whether it was taken: a damaged or foreign one is not, and the others still are.
        """
