"""Timing caches: what one is specific to, and what it did for a build."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from enum import Enum
from typing import TYPE_CHECKING, Any, Mapping, Optional

from farm.domain.digests import canonical_json

if TYPE_CHECKING:
    from datetime import datetime

    from farm.domain.digests import Digest
    from farm.domain.specs import BuildSpec
    from farm.domain.targets import Target

#: Options that change no tactic; `cache_flags` says of each why.
NOT_IN_FLAGS = frozenset(
    {
        "max_aux_streams",
        "profiling_verbosity",
        "timing_cache",
        "error_on_timing_cache_miss",
        "disable_compilation_cache",
        "exclude_lean_runtime",
        "direct_io",
    }
)
#: A cache beyond this is not filed: it would be fetched by every build. Whole ResNets take a few hundred KiB.
MAX_CACHE_BYTES = 256 << 20
#: PostgreSQL refuses keys beyond a third of a page.
_MAX_FLAGS = 600


class Merge(str, Enum):
    """What became of the cache that a build came back with."""

    #: It took the place of the one that was lent, which nobody had changed meanwhile.
    SWAPPED = "swapped"
    #: Somebody else's came in between: both were combined.
    COMBINED = "combined"
    #: Somebody else's came in between, and the two are still to be combined.
    WAITING = "waiting"
    #: It was not filed; the reason says why.
    KEPT_OUT = "kept-out"


@dataclass(frozen=True)
class CacheKey:
    """What a timing cache is filed under.

    Attributes:
        target: device type, and toolchain with its exact version and CUDA variant.
        flags: the builder's flags that matter, as `cache_flags` writes them.
    """

    target: Target
    flags: str


def cache_key(spec: BuildSpec) -> CacheKey:
    """Where the timing cache for a build is filed."""
    return CacheKey(spec.target, cache_flags(spec))


def cache_flags(spec: BuildSpec) -> str:
    """The builder flags that a timing cache is specific to, readable, one text per set of flags.

    A cache's entries carry what they were timed for: the layer with its parameters, types, formats and
    shapes. So model, optimization profiles and I/O formats are no part of the key, and a cache serves every
    model. NVIDIA names as part of the key what can change a layer's implementation but is not in its entry:
    "BuilderConfig parameters such as kTF32 or kREFIT". Hence:

    - the precision is in: it decides on FP16, TF32, BF16 and INT8 flags;
    - `tactic_sources`, memory pools, `builder_optimization_level` and `avg_timing_iterations` are in: an entry
      could name a tactic of a source that is off, one that needs more memory than this build may take, or the
      best of fewer tactics or of fewer timings than this build asked for;
    - `max_num_tactics`, `tiling_optimization_level` and `l2_limit_for_tiling` are in: an entry would be the best of
      fewer or of other tactics;
    - `refit`, `refit_identical`, `refit_individual`, `strip_plan` and `weight_streaming` are in: NVIDIA names
      kREFIT, and weights that are not constants want other kernels;
    - `sparse_weights`, `strict_nans`, `distributive_independence`, `precision_constraints`, `strongly_typed` and
      `quantization_flags` are in: they decide which tactics a layer may take;
    - `version_compatible`, `hardware_compatibility_level`, `runtime_platform`, `engine_capability`,
      `default_device_type`, `DLA_core` and `gpu_fallback` are in: their kernels are for other runtimes, GPUs or DLA;
    - `preview_features` are in: nobody knows what the next one changes;
    - `max_aux_streams` (how layers are spread over streams once their tactics are chosen), `profiling_verbosity` (what
      the engine tells of itself), `exclude_lean_runtime` (what lies beside the engine in its plan) and `direct_io`
      (which reformats are refused; an entry has its formats) are left out, so that asking for layer names does not
      cost a cold build;
    - `timing_cache`, `error_on_timing_cache_miss` and `disable_compilation_cache` are left out: they say how a cache is
      used. With one of its own, a build that may not miss would find none to hit;
    - an option that nobody has thought about yet is in: too many caches cost time, too few cost engines.

    >>> from types import SimpleNamespace as Spec
    >>> cache_flags(Spec(precision="fp16", builder_config={"tactic_sources": ["-CUBLAS"], "max_aux_streams": 0}))
    'fp16 tactic_sources=-CUBLAS'
    """
    words = [spec.precision]
    words += [
        f"{name}={_text(value)}"
        for name, value in sorted(spec.builder_config.items())
        if name not in NOT_IN_FLAGS
    ]
    flags = " ".join(words)
    if len(flags) <= _MAX_FLAGS:
        return flags
    return f"{flags[:_MAX_FLAGS]}… {hashlib.sha256(flags.encode()).hexdigest()[:16]}"


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return ",".join(value)
    return value if isinstance(value, str) else canonical_json(value).decode()


@dataclass(frozen=True)
class CacheUse:
    """What a timing cache did for one build, as it is kept on the attempt. What is not known is none.

    Attributes:
        flags: what the cache is filed under, beside the target.
        lent: sha256 of the cache that the build was given; none if there was none to give.
        taken: whether the builder took it.
        bytes_before: size of the lent one.
        bytes_after: size of what the build came back with.
        entries_before: timings in the cache when the build began, by the builder's log.
        entries_after: timings in it at the end.
        hits: look-ups that the cache answered, among them those of layers that the model repeats.
        build_s: how long the build took.
        cold_build_s: how long the last one took of the same model, target and flags that was lent nothing.
        throttled: how often the GPU was throttled by the samples taken during the build, by reason.
        merged: what became of it.
        reason: why it was kept out, or what else is to be told.
    """

    flags: str
    lent: str | None = None
    taken: bool | None = None
    bytes_before: int | None = None
    bytes_after: int | None = None
    entries_before: int | None = None
    entries_after: int | None = None
    hits: int | None = None
    build_s: float | None = None
    cold_build_s: float | None = None
    throttled: Mapping[str, int] | None = None
    merged: Merge = Merge.KEPT_OUT
    reason: str = ""

    @property
    def timed(self) -> int | None:
        """Timings that were not in the cache and were taken anew."""
        if self.entries_before is None or self.entries_after is None:
            return None
        return max(self.entries_after - self.entries_before, 0)

    @property
    def hit_ratio(self) -> float | None:
        """The share of look-ups that the cache answered."""
        if self.hits is None or self.timed is None or self.hits + self.timed == 0:
            return None
        return self.hits / (self.hits + self.timed)

    @property
    def saved_s(self) -> float | None:
        """By how much the build was quicker than the cold one; negative if it was slower."""
        if self.lent is None or self.build_s is None or self.cold_build_s is None:
            return None
        return self.cold_build_s - self.build_s

    def as_json(self) -> dict[str, Any]:
        """The document in `attempts.timing_cache`."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        derived = {"timed": self.timed, "hit_ratio": self.hit_ratio, "saved_s": self.saved_s}
        throttled = None if self.throttled is None else dict(self.throttled)
        return {**values, "throttled": throttled, "merged": self.merged.value, **derived}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CacheUse:
        """The inverse of `as_json`; what a later release adds is left out."""
        known = {field.name: value[field.name] for field in fields(cls) if field.name in value}
        return cls(**{**known, "merged": Merge(value["merged"])})


@dataclass(frozen=True)
class ReturnedCache:
    """What a build gives back of its timing cache.

    Attributes:
        use: what is known of it; its `merged` is decided when it is filed.
        expected: what was filed under the key when the build began; none if nothing was.
        digest: what the build came back with; none if it is kept out, for the reason in `use`.
    """

    use: CacheUse
    expected: Optional[Digest] = None
    digest: Optional[Digest] = None


@dataclass(frozen=True)
class FiledCache:
    """A timing cache that builds are lent.

    Attributes:
        key: whom it is lent to.
        digest: its bytes.
        updated_at: when it last changed.
        lent: to how many builds that ended well.
        merged: how many builds added to it.
        saved_s: how much time they saved, as far as there was a cold build to compare with.
    """

    key: CacheKey
    digest: Digest
    updated_at: datetime
    lent: int = 0
    merged: int = 0
    saved_s: float = 0.0
