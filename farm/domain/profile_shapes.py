"""What optimization profiles say of a model's inputs: shapes, values, and what is run in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm.domain.shapes import DYNAMIC

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from farm.domain.models import Model
    from farm.domain.shapes import Shape, ShapeRange


def first_profile(profiles: Sequence[Mapping[str, ShapeRange]]) -> Mapping[str, ShapeRange]:
    """The profile that random samples, calibration and conversion go by; no ranges for a static model."""
    return profiles[0] if profiles else {}


def shape_ranges(model: Model, profile: Mapping[str, ShapeRange]) -> dict[str, ShapeRange]:
    """A profile without the ranges of values."""
    dynamic = {tensor.name for tensor in model.inputs if tensor.is_dynamic}
    return {name: span for name, span in profile.items() if name in dynamic}


def opt_shapes_of(model: Model, profile: Mapping[str, ShapeRange]) -> dict[str, Shape]:
    """Every input's shape that a profile is tuned for, or the model's own."""
    ranges = shape_ranges(model, profile)
    return {
        tensor.name: ranges[tensor.name].opt if tensor.name in ranges else tensor.shape
        for tensor in model.inputs
    }


def opt_values_of(model: Model, profile: Mapping[str, ShapeRange]) -> dict[str, Shape]:
    """The values that a profile is tuned for, of every input that holds a shape."""
    static = {tensor.name for tensor in model.inputs if not tensor.is_dynamic}
    return {name: span.opt for name, span in profile.items() if name in static}


def profile_for_samples(
    model: Model, profiles: Sequence[Mapping[str, ShapeRange]], given: Mapping[str, Shape]
) -> Mapping[str, ShapeRange]:
    """The profile in which samples run, so many at a time as it is tuned for: the nearest that takes them.

    Args:
        model: that they are for.
        profiles: one at least.
        given: the shapes of the arrays by input, the first dimension the samples where the model's batch is dynamic.

    Returns:
        The first one if none takes them: running them says what does not fit.
    """
    batched = {tensor.name for tensor in model.inputs if tensor.shape[:1] == (DYNAMIC,)}
    found: list[tuple[float, int]] = []
    for at, profile in enumerate(profiles):
        calls = [
            (span, (span.opt[0], *given[name][1:]) if name in batched else given[name])
            for name, span in shape_ranges(model, profile).items()
            if given.get(name)
        ]
        if all(span.contains(shape) for span, shape in calls):
            found.append((sum(span.distance(shape) for span, shape in calls), at))
    return profiles[min(found)[1] if found else 0]


def first_dimensions(model: Model, profile: Mapping[str, ShapeRange]) -> list[int]:
    """Of the inputs that are fed data, in their order; what holds a shape has no batch."""
    fed = [tensor for tensor in model.inputs if tensor.is_dynamic or tensor.name not in profile]
    return [tensor.shape[0] for tensor in fed if tensor.shape]


def fixed_batch(model: Model, profile: Mapping[str, ShapeRange]) -> int:
    """How many inferences one run of a static model is.

    An input's first dimension is a batch only where an output begins with it too: a signal of 16,000 samples with one
    score is one inference.
    """
    ends = {tensor.shape[0] for tensor in model.outputs if tensor.shape}
    sizes = [size for size in first_dimensions(model, profile) if size > 0]
    if DYNAMIC in ends:
        # Nobody knows how the outputs begin.
        return sizes[0] if sizes else 1
    return next((size for size in sizes if size in ends), 1)


def usual_batches(model: Model, profiles: Sequence[Mapping[str, ShapeRange]]) -> tuple[int, ...]:
    """What is measured without a wish: the smallest, the tuned-for and the largest batch of every profile."""
    batched = [tensor.name for tensor in model.inputs if tensor.shape[:1] == (DYNAMIC,)]
    spans = [profile[batched[0]] for profile in profiles if batched and batched[0] in profile]
    if spans:
        return tuple(sorted({size for s in spans for size in (s.min[0], s.opt[0], s.max[0])} - {0}))
    return (fixed_batch(model, {name: span for profile in profiles for name, span in profile.items()}),)
