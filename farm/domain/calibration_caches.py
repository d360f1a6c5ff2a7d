"""Calibration caches: the ranges that a builder once measured, and what they hold for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, Optional

from farm.domain.calibration import ALGORITHM_OPTION, algorithm_of
from farm.domain.digests import digest_of_json

if TYPE_CHECKING:
    from datetime import datetime

    from farm.domain.digests import Digest
    from farm.domain.specs import BuildSpec
    from farm.domain.targets import ToolchainId

#: A line per tensor: a network of a hundred thousand layers takes less.
MAX_CALIBRATION_CACHE_BYTES = 64 << 20
#: Calibrators that measure after layers are fused. NVIDIA: "Fusions are not guaranteed to be identical across
#: platforms or devices, so calibrating after layer fusion may not result in a portable calibration cache."
_AFTER_FUSION = frozenset({"ENTROPY_CALIBRATION", "LEGACY_CALIBRATION"})


@dataclass(frozen=True)
class CalibrationCacheKey:
    """What a calibration cache is filed under.

    Attributes:
        model_sha256: digest of the model's content.
        calibration_sha256: digest of what it was calibrated with, as `calibration_cache_key` composes it.
        algorithm: a `CalibrationAlgoType` by name.
        toolchain: with its exact version and CUDA variant.
    """

    model_sha256: str
    calibration_sha256: str
    algorithm: str
    toolchain: ToolchainId


def calibration_cache_key(spec: BuildSpec) -> Optional[CalibrationCacheKey]:
    """Where the calibration cache for a build is filed; none if it is not calibrated.

    Device type, precision, builder options and profiles are no part of it: ranges follow from the samples alone, so
    `int8` and `int8+fp16` share them, on every GPU. Except where

    - layers are fused before they are measured: then the device type, the precision and the options count, since
      they decide on fusions;
    - the samples are random: then their shapes count, which the profile says;
    - plugins compute a part of the network: then their digests count;
    - inputs or outputs have another type or format than in the model: then those count. What TensorRT puts between them
      and the layers is not known for every release, and a tensor without a range falls back to another precision.
    """
    if spec.calibration is None:
        return None
    algorithm = algorithm_of(spec.builder_config)
    config = {name: value for name, value in spec.builder_config.items() if name != ALGORITHM_OPTION}
    document: Dict[str, Any] = {"calibration": spec.calibration.as_json()}
    if spec.calibration.is_random and spec.profiles:
        # The first dimension is the calibration's batch.
        document["shapes"] = {name: list(shapes.opt[1:]) for name, shapes in spec.profiles[0].items()}
    if spec.plugins:
        document["plugins"] = list(spec.plugins)
    if spec.io_formats:
        document["io_formats"] = dict(spec.io_formats)
    if algorithm in _AFTER_FUSION:
        document["fusion"] = [spec.target.device_type.as_json(), spec.precision, config]
    return CalibrationCacheKey(
        spec.model_sha256, digest_of_json(document).sha256, algorithm, spec.target.toolchain
    )


@dataclass(frozen=True)
class ReturnedCalibrationCache:
    """What a build gives back of its calibration cache.

    Attributes:
        key: what it is filed under.
        lent: whether the build took the cache that it was lent.
        expected: what was filed and could not be used, so that the new one is to take its place; none if nothing was.
        digest: the cache that it wrote; none if it wrote none, or none that is to be filed.
    """

    key: CalibrationCacheKey
    lent: bool = False
    expected: Optional[Digest] = None
    digest: Optional[Digest] = None


@dataclass(frozen=True)
class FiledCalibrationCache:
    """A calibration cache that builds are lent.

    Attributes:
        key: whom it is lent to.
        digest: its bytes.
        created_at: when it was filed.
        lent: to how many builds that ended well.
    """

    key: CalibrationCacheKey
    digest: Digest
    created_at: datetime
    lent: int = 0
