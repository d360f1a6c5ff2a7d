"""As much of TensorRT as options and precisions need, per version.

The make-believe modules have the surfaces that were read from the real ones (8.6.0, 10.16.1, 11.4,
TensorRT-RTX 1.7.1; 8.5 by its documentation): names of enums and attributes, numbers that move. Which release has
which member was read from the Python modules of 8.6.1, 10.0 to 10.6, 10.8, 10.9, 10.12, 10.16, 11.0 and 11.4.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from workers.toolchains.trt_log import TrtLog


def enum(**members: int) -> Any:
    """A pybind11 enum, as far as it is used."""
    return SimpleNamespace(__members__=dict(members), **members)


class Config:
    """An IBuilderConfig that remembers what is set."""

    avg_timing_iterations = 1
    profiling_verbosity: Any = 0
    default_device_type: Any = 0
    engine_capability: Any = 0
    DLA_core = -1

    def __init__(self) -> None:
        self.flags: set[int] = {TF32}
        self.pools: dict[int, int] = {}
        self.sources = 0b11001
        self.previews: set[int] = set()
        self.quantization: set[int] = set()
        self.profiles: list[Any] = []

    def set_flag(self, flag: int) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: int) -> None:
        self.flags.discard(flag)

    def get_flag(self, flag: int) -> bool:
        return flag in self.flags

    def set_preview_feature(self, feature: int, enable: bool) -> None:
        (self.previews.add if enable else self.previews.discard)(feature)

    def get_preview_feature(self, feature: int) -> bool:
        return feature in self.previews

    def set_quantization_flag(self, flag: int) -> None:
        self.quantization.add(flag)

    def clear_quantization_flag(self, flag: int) -> None:
        self.quantization.discard(flag)

    def get_quantization_flag(self, flag: int) -> bool:
        return flag in self.quantization

    def set_memory_pool_limit(self, pool: int, size: int) -> None:
        if size < 1 << 40:  # beyond it, as TensorRT does: nothing happens
            self.pools[pool] = size

    def get_memory_pool_limit(self, pool: int) -> int:
        return self.pools.get(pool, 1 << 37)

    def get_tactic_sources(self) -> int:
        return self.sources

    def set_tactic_sources(self, mask: int) -> bool:
        self.sources = mask
        return True

    def add_optimization_profile(self, profile: Any) -> int:
        self.profiles.append(profile)
        return -1 if profile.bad else len(self.profiles) - 1


class NewerConfig(Config):
    builder_optimization_level = 3
    max_aux_streams = -1
    hardware_compatibility_level: Any = 0


class ConfigOfTen(NewerConfig):
    """From 10.8 on; single attributes came earlier."""

    runtime_platform: Any = 0
    max_num_tactics = -1
    tiling_optimization_level: Any = 0
    l2_limit_for_tiling = 0


class SettableTensor:
    """An ITensor up to 10."""

    def __init__(self) -> None:
        self._dtype: Any = None

    @property
    def dtype(self) -> Any:
        return self._dtype

    @dtype.setter
    def dtype(self, value: Any) -> None:
        self._dtype = value


class FixedTensor:
    """An ITensor from 11 on: the model says its type."""

    dtype = property(lambda self: None)


TF32 = 70
POOLS = {"WORKSPACE": 0, "DLA_MANAGED_SRAM": 1, "DLA_LOCAL_DRAM": 2, "DLA_GLOBAL_DRAM": 3, "TACTIC_DRAM": 4}
FORMATS = (
    "LINEAR",
    "CHW2",
    "HWC8",
    "CHW4",
    "CHW16",
    "CHW32",
    "DHWC8",
    "CDHW32",
    "HWC",
    "DLA_LINEAR",
    "DLA_HWC4",
    "HWC16",
)
TYPES_OF_8 = {"FLOAT": 0, "HALF": 1, "INT8": 2, "INT32": 3, "BOOL": 4, "UINT8": 5, "FP8": 6}
SOURCES_OF_8 = {"CUBLAS": 0, "CUBLAS_LT": 1, "CUDNN": 2, "EDGE_MASK_CONVOLUTIONS": 3, "JIT_CONVOLUTIONS": 4}


def config_of(release: tuple[int, int]) -> type[Config]:
    """The builder config of a release: attributes come one by one."""
    if release < (8, 6):
        return Config
    if release >= (10, 8):
        return ConfigOfTen
    single = {"runtime_platform": ((10, 2), 0), "max_num_tactics": ((10, 4), -1)}
    return type(
        "Config", (NewerConfig,), {name: value for name, (since, value) in single.items() if release >= since}
    )


#: Flags that are not of a precision, with the first release that has each.
FLAGS = {
    "REFIT": (8, 5),
    "SPARSE_WEIGHTS": (8, 5),
    "DIRECT_IO": (8, 5),
    "GPU_FALLBACK": (8, 5),
    "VERSION_COMPATIBLE": (8, 6),
    "EXCLUDE_LEAN_RUNTIME": (8, 6),
    "ERROR_ON_TIMING_CACHE_MISS": (10, 0),
    "DISABLE_COMPILATION_CACHE": (10, 0),
    "STRIP_PLAN": (10, 0),
    "REFIT_IDENTICAL": (10, 0),
    "WEIGHT_STREAMING": (10, 0),
    "REFIT_INDIVIDUAL": (10, 2),
    "STRICT_NANS": (10, 6),
    "MONITOR_MEMORY": (10, 6),
    "EDITABLE_TIMING_CACHE": (10, 8),
    "DISTRIBUTIVE_INDEPENDENCE": (10, 12),
}
#: Preview features, with the first release that has each and the first that has it no more.
PREVIEWS = {
    "FASTER_DYNAMIC_SHAPES_0805": ((8, 5), (10, 0)),
    "DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805": ((8, 5), (10, 0)),
    "PROFILE_SHARING_0806": ((8, 6), (11, 0)),
    "ALIASED_PLUGIN_IO_10_03": ((10, 3), (99, 0)),
    "RUNTIME_ACTIVATION_RESIZE_10_10": ((10, 10), (99, 0)),
}


def surface(version: str) -> Any:
    """A module of a version, as far as building's options go."""
    major, minor = release = tuple(map(int, version.split(".")[:2]))
    flags = {"TF32": TF32, "DISABLE_TIMING_CACHE": 71}
    if major < 11:
        flags |= {
            "FP16": 72,
            "INT8": 73,
            "PREFER_PRECISION_CONSTRAINTS": 75,
            "OBEY_PRECISION_CONSTRAINTS": 76,
        }
    if major == 10:
        flags["BF16"] = 74
    flags |= {name: 80 + at for at, (name, since) in enumerate(FLAGS.items()) if release >= since}
    verbosities = {"LAYER_NAMES_ONLY": 0, "NONE": 1, "DETAILED": 2}
    previews = {
        name: at for at, (name, (since, until)) in enumerate(PREVIEWS.items()) if since <= release < until
    }
    capabilities = {"STANDARD": 0, "SAFETY": 1, "DLA_STANDALONE": 2}
    levels = {"NONE": 0, "AMPERE_PLUS": 1} if release >= (8, 6) else {}
    enums: dict[str, Any] = {
        "PreviewFeature": enum(**previews),
        "DeviceType": enum(GPU=0, DLA=1),
        "EngineCapability": enum(
            **capabilities, **({"DEFAULT": 0, "SAFE_GPU": 1, "SAFE_DLA": 2} if major == 8 else {})
        ),
    }
    if levels:
        extra = {"SAME_COMPUTE_CAPABILITY": 2} if release >= (10, 9) else {}
        enums["HardwareCompatibilityLevel"] = enum(**levels, **extra)
    if release >= (10, 2):
        enums["RuntimePlatform"] = enum(SAME_AS_BUILD=0, WINDOWS_AMD64=1)
    if release >= (10, 8):
        enums["TilingOptimizationLevel"] = enum(NONE=0, FAST=1, MODERATE=2, FULL=3)
    if major < 11:
        enums["QuantizationFlag"] = enum(CALIBRATE_BEFORE_FUSION=0)
    creation = {"EXPLICIT_BATCH": 0} if major < 11 else {}
    if major == 10:
        creation["STRONGLY_TYPED"] = 1
    if major == 11:
        creation["STRONGLY_TYPED"] = 0
    severities = enum(INTERNAL_ERROR=0, ERROR=1, WARNING=2, INFO=3, VERBOSE=4)
    return SimpleNamespace(
        __name__="tensorrt",
        __version__=version,
        IBuilderConfig=config_of((major, minor)),
        **enums,
        BuilderFlag=enum(**flags),
        ProfilingVerbosity=enum(**verbosities, **({"DEFAULT": 0, "VERBOSE": 2} if major == 8 else {})),
        MemoryPoolType=enum(**POOLS, **({"TACTIC_SHARED_MEMORY": 5} if major >= 10 else {})),
        TacticSource=enum(
            **(SOURCES_OF_8 if major < 11 else {"EDGE_MASK_CONVOLUTIONS": 0, "JIT_CONVOLUTIONS": 1})
        ),
        NetworkDefinitionCreationFlag=SimpleNamespace(**creation),
        TensorFormat=enum(**{name: at for at, name in enumerate(FORMATS)}),
        # The order of NvInfer.h: only those that somebody asks for.
        LayerType=enum(CONVOLUTION=0, DECONVOLUTION=7),
        DataType=enum(**TYPES_OF_8, **({"BF16": 7, "INT64": 8} if major >= 10 else {})),
        ITensor=SettableTensor if major < 11 else FixedTensor,
        ILogger=type("ILogger", (), {"Severity": severities, "__init__": lambda self: None}),
    )


def log_for(trt: Any) -> TrtLog:
    return TrtLog(trt, f"TensorRT {trt.__version__}")
