"""As much of TensorRT as options and precisions need, per version.

The make-believe modules have the surfaces that were read from the real ones (8.6.0, 10.16.1, 11.4,
TensorRT-RTX 1.7.1; 8.5 by its documentation): names of enums and attributes, numbers that move.
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

    def __init__(self) -> None:
        self.flags: set[int] = {TF32}
        self.pools: dict[int, int] = {}
        self.sources = 0b11001
        self.profiles: list[Any] = []

    def set_flag(self, flag: int) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: int) -> None:
        self.flags.discard(flag)

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


TF32 = 70
POOLS = {"WORKSPACE": 0, "DLA_MANAGED_SRAM": 1, "DLA_LOCAL_DRAM": 2, "DLA_GLOBAL_DRAM": 3, "TACTIC_DRAM": 4}
SOURCES_OF_8 = {"CUBLAS": 0, "CUBLAS_LT": 1, "CUDNN": 2, "EDGE_MASK_CONVOLUTIONS": 3, "JIT_CONVOLUTIONS": 4}


def surface(version: str) -> Any:
    """A module of a version, as far as building's options go."""
    major, minor = map(int, version.split(".")[:2])
    flags = {"TF32": TF32, "DISABLE_TIMING_CACHE": 71}
    if major < 11:
        flags |= {"FP16": 72, "INT8": 73}
    if major == 10:
        flags["BF16"] = 74
    verbosities = {"LAYER_NAMES_ONLY": 0, "NONE": 1, "DETAILED": 2}
    creation = {"EXPLICIT_BATCH": 0} if major < 11 else {}
    if major == 10:
        creation["STRONGLY_TYPED"] = 1
    if major == 11:
        creation["STRONGLY_TYPED"] = 0
    severities = enum(INTERNAL_ERROR=0, ERROR=1, WARNING=2, INFO=3, VERBOSE=4)
    return SimpleNamespace(
        __name__="tensorrt",
        __version__=version,
        IBuilderConfig=Config if (major, minor) == (8, 5) else NewerConfig,
        BuilderFlag=enum(**flags),
        ProfilingVerbosity=enum(**verbosities, **({"DEFAULT": 0, "VERBOSE": 2} if major == 8 else {})),
        MemoryPoolType=enum(**POOLS, **({"TACTIC_SHARED_MEMORY": 5} if major >= 10 else {})),
        TacticSource=enum(
            **(SOURCES_OF_8 if major < 11 else {"EDGE_MASK_CONVOLUTIONS": 0, "JIT_CONVOLUTIONS": 1})
        ),
        NetworkDefinitionCreationFlag=SimpleNamespace(**creation),
        ILogger=type("ILogger", (), {"Severity": severities, "__init__": lambda self: None}),
    )


def log_for(trt: Any) -> TrtLog:
    return TrtLog(trt, f"TensorRT {trt.__version__}")
