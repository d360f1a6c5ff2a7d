"""The options of TensorRT's builder, by what a release offers, and how they are applied.

Options keep TensorRT's attribute names and enum names. Names, never numbers: TensorRT renumbers
its enums between releases. The module `trt` is an argument.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farm.domain.calibration import ALGORITHM_OPTION
from farm.domain.errors import InvalidSpecError
from farm.domain.suggestions import did_you_mean
from farm.domain.toolchains import BuilderOption
from workers.toolchains.trt_calibration import calibration_option
from workers.toolchains.trt_log import spec_refusal

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from workers.toolchains.trt_log import TrtLog

_POOL_PREFIX = "memory_pool_limits."
_POOLS = {
    "WORKSPACE": "most device memory that one layer's tactic may use while running",
    "TACTIC_DRAM": "most device memory that the builder's tactic timing may use",
    "TACTIC_SHARED_MEMORY": "most shared memory that a tactic may use, below 1 GiB",
}
#: Deprecated aliases of TensorRT 8 for members that have a name of their own.
_ALIASES = ("DEFAULT", "VERBOSE")


def options_of(trt: Any, only: Collection[str] | None = None) -> tuple[BuilderOption, ...]:
    """The builder options that a release has.

    Args:
        trt: the module.
        only: names to offer, where a product has the attributes but they do nothing.
    """
    config = trt.IBuilderConfig
    offered: list[BuilderOption] = []
    if hasattr(config, "builder_optimization_level"):
        offered.append(
            BuilderOption(
                "builder_optimization_level",
                "int",
                default=3,
                maximum=5,
                help="how long the builder searches: 0 fastest build, 5 fastest engine",
            )
        )
    offered.append(
        BuilderOption(
            "avg_timing_iterations",
            "int",
            default=1,
            minimum=1,
            maximum=1000,
            help="how often each tactic is timed; more steadies the choice and lengthens the build",
        )
    )
    if hasattr(config, "max_aux_streams"):
        offered.append(
            BuilderOption(
                "max_aux_streams",
                "int",
                maximum=1000,
                help="most extra streams an inference may use; the builder decides by default, 0 is one stream",
            )
        )
    verbosities = tuple(name for name in trt.ProfilingVerbosity.__members__ if name not in _ALIASES)
    offered.append(
        BuilderOption(
            "profiling_verbosity",
            "choice",
            default="LAYER_NAMES_ONLY",
            choices=tuple(sorted(verbosities)),
            help="what the engine tells about its layers",
        )
    )
    offered.append(
        BuilderOption(
            "tactic_sources",
            "signed-set",
            default=[],
            choices=tuple(sorted(trt.TacticSource.__members__)),
            help="libraries to take tactics from (+) or not (-), relative to the release's default",
        )
    )
    offered += [
        BuilderOption(_POOL_PREFIX + name, "bytes", help=f"{meaning}; the device's own limit by default")
        for name, meaning in _POOLS.items()
        if name in trt.MemoryPoolType.__members__
    ]
    offered.append(
        BuilderOption(
            "timing_cache",
            "bool",
            default=True,
            help="whether to use and fill the farm's timing cache; false times every tactic anew",
        )
    )
    calibration = calibration_option(trt)
    if calibration is not None:
        offered.append(calibration)
    return tuple(option for option in offered if only is None or option.name in only)


def apply_options(
    trt: Any, config: Any, options: Mapping[str, Any], log: TrtLog, only: Collection[str] | None = None
) -> None:
    """Sets canonical options on a builder config.

    Raises:
        InvalidSpecError: an option is unknown here, or TensorRT does not take its value.
    """
    known = {option.name for option in options_of(trt, only)}
    for name, value in options.items():
        if name not in known:
            raise InvalidSpecError(
                f"{log.name} has no builder option {name!r}", hint=did_you_mean(name, known)
            )
        if name.startswith(_POOL_PREFIX):
            _limit_pool(trt, config, name, value, log)
        elif name == "tactic_sources":
            _choose_tactic_sources(trt, config, value, log)
        elif name == "profiling_verbosity":
            config.profiling_verbosity = _member(trt.ProfilingVerbosity, name, value)
        elif name == ALGORITHM_OPTION:
            # Chosen with the calibrator.
            continue
        elif name == "timing_cache":
            if not value:
                config.set_flag(trt.BuilderFlag.DISABLE_TIMING_CACHE)
        else:
            _set_number(config, name, value, log)


def _set_number(config: Any, name: str, value: int, log: TrtLog) -> None:
    try:
        setattr(config, name, value)
    except (TypeError, ValueError) as error:
        raise InvalidSpecError(f"{name} can not be {value!r}: {error}") from error
    if getattr(config, name) != value:
        raise spec_refusal(log, f"{name}={value}")


def _limit_pool(trt: Any, config: Any, name: str, value: int, log: TrtLog) -> None:
    pool = _member(trt.MemoryPoolType, name, name[len(_POOL_PREFIX) :])
    config.set_memory_pool_limit(pool, value)
    # A limit that is not taken raises nothing: it is logged, and the old one stays.
    if config.get_memory_pool_limit(pool) != value:
        raise spec_refusal(log, f"{name}={value}")


def _choose_tactic_sources(trt: Any, config: Any, signed: Any, log: TrtLog) -> None:
    mask = config.get_tactic_sources()
    for word in signed:
        bit = 1 << int(_member(trt.TacticSource, "tactic_sources", word[1:]))
        mask = mask | bit if word[0] == "+" else mask & ~bit
    if not config.set_tactic_sources(mask):
        raise spec_refusal(log, f"tactic_sources={','.join(signed)}")


def _member(enum: Any, option: str, name: str) -> Any:
    members = enum.__members__
    if name not in members:
        raise InvalidSpecError(f"{option} can not be {name!r}", hint=did_you_mean(name, members))
    return members[name]
