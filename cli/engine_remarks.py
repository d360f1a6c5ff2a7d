"""What tells an engine from another one of the same model, target and precision, in a few words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.build_spread import kept_text, refit_text
from farm.domain.shapes import DYNAMIC, shape_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farm.domain.models import Model
    from farm.domain.shapes import ShapeRange
    from farm.domain.specs import BuildSpec


def remarks(spec: BuildSpec) -> list[str]:
    """Its salt, its options that are not at their default, random calibration, what is kept or replaced in it."""
    words = [f"salt {spec.salt}"] if spec.salt else []
    words += [
        f"{name}={','.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in sorted(spec.builder_config.items())
    ]
    if spec.calibration is not None and spec.calibration.is_random:
        words.append("calibrated with random samples")
    return words + [text for text in (kept_text(spec), refit_text(spec)) if text]


def profile_text(spec: BuildSpec, model: Model) -> str:
    """The batch sizes that it takes, and other shapes and values that vary; empty for a static engine.

    `batch 1 to 32, tuned for 8`; several optimization profiles are joined by `or`.
    """
    return " or ".join(filter(None, (_one_profile(profile, model) for profile in spec.profiles)))


def _one_profile(profile: Mapping[str, ShapeRange], model: Model) -> str:
    shapes = {tensor.name: tensor.shape for tensor in model.inputs if tensor.is_dynamic}
    of_batch = {
        (profile[name].min[0], profile[name].opt[0], profile[name].max[0]): None
        for name, shape in shapes.items()
        if name in profile and shape[0] == DYNAMIC
    }
    words = [_batch_words(*sizes) for sizes in of_batch]
    for name, range_ in profile.items():
        if name not in shapes:
            low, high = (",".join(map(str, values)) for values in (range_.min, range_.max))
        elif range_.min[1:] != range_.max[1:]:
            low, high = shape_text(range_.min), shape_text(range_.max)
        else:
            continue
        words.append(f"{name} {low} to {high}" if low != high else f"{name} {low}")
    return ", ".join(words)


def _batch_words(low: int, tuned: int, high: int) -> str:
    return f"batch {high}" if low == high else f"batch {low} to {high}, tuned for {tuned}"
