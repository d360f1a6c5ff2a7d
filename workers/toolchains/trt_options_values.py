"""Builder options that are numbers, sizes and words: attributes and memory pools of TensorRT's builder config."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from farm.domain.errors import InvalidSpecError
from farm.domain.toolchains import BuilderOption
from workers.toolchains.trt_log import spec_refusal
from workers.toolchains.trt_options_setting import Setting, member_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.toolchains.trt_log import TrtLog

_NUMBERS = (
    BuilderOption(
        "builder_optimization_level",
        "int",
        default=3,
        maximum=5,
        help="how long the builder searches: 0 fastest build, 5 fastest engine",
    ),
    BuilderOption(
        "avg_timing_iterations",
        "int",
        default=1,
        minimum=1,
        maximum=1000,
        help="how often each tactic is timed; more steadies the choice and lengthens the build",
    ),
    BuilderOption(
        "max_aux_streams",
        "int",
        maximum=1000,
        help="most extra streams an inference may use; the builder decides by default, 0 is one stream",
    ),
    BuilderOption(
        "max_num_tactics",
        "int",
        minimum=1,
        help="most tactics that are timed for a layer; the builder decides by default",
    ),
    BuilderOption(
        "l2_limit_for_tiling",
        "bytes",
        minimum=1,
        help="how much of the L2 cache an engine aims at with its tiles; the builder decides by default",
    ),
    BuilderOption("DLA_core", "int", maximum=15, help="which DLA core, from 0; with default_device_type=DLA"),
)


@dataclass(frozen=True)
class _Word:
    """An attribute that takes a member of an enum.

    Attributes:
        name: the attribute.
        enum: name of the enum in the module.
        default: the member that a new config has.
        help: one line for people.
    """

    name: str
    enum: str
    default: str
    help: str


_WORDS = (
    _Word(
        "profiling_verbosity",
        "ProfilingVerbosity",
        "LAYER_NAMES_ONLY",
        "what the engine tells about its layers",
    ),
    _Word(
        "hardware_compatibility_level",
        "HardwareCompatibilityLevel",
        "NONE",
        "which other GPUs run the engine: AMPERE_PLUS all from Ampere on, SAME_COMPUTE_CAPABILITY its like",
    ),
    _Word(
        "tiling_optimization_level",
        "TilingOptimizationLevel",
        "NONE",
        "how long the builder searches for tiles that keep layers in the L2 cache",
    ),
    _Word(
        "runtime_platform",
        "RuntimePlatform",
        "SAME_AS_BUILD",
        "which system the engine is for; another one's is not run here",
    ),
    _Word(
        "default_device_type", "DeviceType", "GPU", "what layers run on: GPU, or DLA where the chip has it"
    ),
    _Word(
        "engine_capability",
        "EngineCapability",
        "STANDARD",
        "which runtime the engine is for; others than STANDARD are not run here",
    ),
)
#: Deprecated aliases of TensorRT 8 for members that have a name of their own.
_ALIASES = {
    "profiling_verbosity": ("DEFAULT", "VERBOSE"),
    "engine_capability": ("DEFAULT", "SAFE_GPU", "SAFE_DLA"),
}
_POOL_PREFIX = "memory_pool_limits."
_POOLS = {
    "WORKSPACE": "most device memory that one layer's tactic may use while running; the device's own limit by default",
    "TACTIC_DRAM": "most device memory that the builder's tactic timing may use; the device's own limit by default",
    "TACTIC_SHARED_MEMORY": "most shared memory that a tactic may use, below 1 GiB; the device's own limit by default",
    "DLA_MANAGED_SRAM": "SRAM that DLA may use, a power of two from 4 KiB on; 0 by default",
    "DLA_LOCAL_DRAM": "memory of the host that DLA may use for its activations, a power of two; 1 GiB by default",
    "DLA_GLOBAL_DRAM": "memory of the host that DLA may use for its weights, a power of two; 512 MiB by default",
}


def value_settings(trt: Any) -> list[Setting]:
    """The numbers, words and pools that a release has."""
    settings = [
        Setting(option, _sets_number(option.name))
        for option in _NUMBERS
        if hasattr(trt.IBuilderConfig, option.name)
    ]
    settings += [
        Setting(_word_option(trt, word), _sets_word(word))
        for word in _WORDS
        if hasattr(trt.IBuilderConfig, word.name) and hasattr(trt, word.enum)
    ]
    settings += [
        Setting(BuilderOption(_POOL_PREFIX + name, "bytes", help=meaning), _limits_pool(name))
        for name, meaning in _POOLS.items()
        if name in trt.MemoryPoolType.__members__
    ]
    settings.append(
        Setting(
            BuilderOption(
                "timing_cache",
                "bool",
                default=True,
                help="whether to use and fill the farm's timing cache; false times every tactic anew",
            ),
            _use_timing_cache,
        )
    )
    return settings


def require_dla(builder: Any, options: Mapping[str, Any], log: TrtLog) -> None:
    """Refuses what is to run on DLA where the device has none, before minutes go into a build.

    Raises:
        InvalidSpecError: the options ask for DLA, and there is no such core, or fewer.
    """
    if options.get("default_device_type") != "DLA":
        return
    cores, wanted = int(builder.num_DLA_cores), int(options.get("DLA_core", 0))
    if wanted >= cores:
        has = f"{cores} DLA core(s), numbered from 0" if cores else "no DLA"
        raise InvalidSpecError(
            f"{log.name} can not build for DLA core {wanted}: this device has {has}",
            hint="Jetson and DRIVE chips have DLA. Leave default_device_type out to build for the GPU.",
        )


def _word_option(trt: Any, word: _Word) -> BuilderOption:
    aliases = _ALIASES.get(word.name, ())
    members = [name for name in getattr(trt, word.enum).__members__ if name not in aliases]
    return BuilderOption(
        word.name, "choice", default=word.default, choices=tuple(sorted(members)), help=word.help
    )


def _sets_number(name: str) -> Any:
    def apply(_trt: Any, config: Any, value: int, log: TrtLog) -> None:
        try:
            setattr(config, name, value)
        except (TypeError, ValueError) as error:
            raise InvalidSpecError(f"{name} can not be {value!r}: {error}") from error
        if getattr(config, name) != value:
            raise spec_refusal(log, f"{name}={value}")

    return apply


def _sets_word(word: _Word) -> Any:
    def apply(trt: Any, config: Any, value: str, log: TrtLog) -> None:
        member = member_of(getattr(trt, word.enum), word.name, value)
        setattr(config, word.name, member)
        # A value that is not taken raises nothing: it is logged, and the old one stays.
        if getattr(config, word.name) != member:
            raise spec_refusal(log, f"{word.name}={value}")

    return apply


def _limits_pool(pool_name: str) -> Any:
    def apply(trt: Any, config: Any, value: int, log: TrtLog) -> None:
        name = _POOL_PREFIX + pool_name
        pool = member_of(trt.MemoryPoolType, name, pool_name)
        config.set_memory_pool_limit(pool, value)
        # As with words. What DLA may use is rounded down to a power of two.
        got = config.get_memory_pool_limit(pool)
        if got != value and not (pool_name.startswith("DLA_") and got == 1 << (value.bit_length() - 1)):
            raise spec_refusal(log, f"{name}={value}")

    return apply


def _use_timing_cache(trt: Any, config: Any, value: bool, _log: TrtLog) -> None:
    if not value:
        config.set_flag(trt.BuilderFlag.DISABLE_TIMING_CACHE)
