"""Optimization profiles: from what a user wrote, and which of them an inference runs in.

In a profile an input has a range of *shapes* where it is dynamic, and a range of *values* where it is a static
integer input of rank 0 or 1 that holds a shape (TensorRT's shape tensors). An input is never both, so the
model says which of them a range is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm.domain.errors import InvalidSpecError
from farm.domain.profile_shapes import first_dimensions, fixed_batch, shape_ranges
from farm.domain.shapes import DYNAMIC, ShapeRange, shape_text
from farm.domain.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from farm.domain.models import Model, Tensor
    from farm.domain.shapes import Shape

_VALUE_TYPES = ("int32", "int64")


def may_hold_shape(tensor: Tensor) -> bool:
    """Whether an input can be a shape tensor, which takes values in place of shapes."""
    return not tensor.is_dynamic and len(tensor.shape) <= 1 and tensor.dtype in _VALUE_TYPES


def profiles_from_wishes(
    model: Model,
    min_shapes: Sequence[Mapping[str, Shape]],
    opt_shapes: Sequence[Mapping[str, Shape]],
    max_shapes: Sequence[Mapping[str, Shape]],
    batches: Sequence[int],
) -> tuple[dict[str, ShapeRange], ...]:
    """The profiles of a request: the n-th of each list makes the n-th profile; without lists the batches make one.

    Raises:
        InvalidSpecError: the lists differ in length, two profiles are the same, or one does not fit the model.
    """
    lists = (min_shapes, opt_shapes, max_shapes)
    counts = {len(shapes) for shapes in lists if shapes}
    if len(counts) > 1:
        raise InvalidSpecError(
            f"{len(min_shapes)} times min, {len(opt_shapes)} times opt and {len(max_shapes)} times max shapes make "
            "no profiles",
            hint="The n-th of each makes profile n: give each as often as the others, or leave it out altogether.",
        )
    if not counts:
        profile = _profile(model, {}, {}, {}, batches)
        return (profile,) if profile else ()
    count = counts.pop()
    profiles = []
    for at in range(count):
        low, mid, high = (shapes[at] if shapes else {} for shapes in lists)
        profiles.append(_profile(model, low, mid, high, batches))
    for at, profile in enumerate(profiles):
        if profile in profiles[:at]:
            raise InvalidSpecError(
                f"optimization profiles {profiles.index(profile) + 1} and {at + 1} are the same",
                hint="Leave one of them out.",
            )
    return tuple(profile for profile in profiles if profile)


def _profile(
    model: Model,
    low: Mapping[str, Shape],
    mid: Mapping[str, Shape],
    high: Mapping[str, Shape],
    batches: Sequence[int],
) -> dict[str, ShapeRange]:
    dynamic = {tensor.name for tensor in model.inputs if tensor.is_dynamic}
    if not dynamic or not batches or dynamic & {*low, *mid, *high}:
        return profile_from_shapes(model, low, mid, high)
    # Shapes from the batches; what was given is the values of inputs that hold a shape.
    values = profile_from_shapes(model, low, mid, high, needs_all=False)
    return {**profile_from_batches(model, batches), **values}


def profile_from_shapes(
    model: Model,
    min_shapes: Mapping[str, Shape],
    opt_shapes: Mapping[str, Shape],
    max_shapes: Mapping[str, Shape],
    *,
    needs_all: bool = True,
) -> dict[str, ShapeRange]:
    """One optimization profile from what a user wrote; a shape given once stands for all three.

    Args:
        model: that the profile is for.
        min_shapes: smallest shapes by input, or smallest values of one that holds a shape.
        opt_shapes: what to tune for.
        max_shapes: the largest.
        needs_all: whether every dynamic input must be there.

    Raises:
        InvalidSpecError: an input is unknown, static, missing, or its range does not fit the model.
    """
    given = {name: None for shapes in (min_shapes, opt_shapes, max_shapes) for name in shapes}
    inputs = {tensor.name: tensor for tensor in model.inputs}
    for name in given:
        if name not in inputs:
            raise InvalidSpecError(f"the model has no input {name!r}", hint=did_you_mean(name, inputs))
        if not inputs[name].is_dynamic and not may_hold_shape(inputs[name]):
            raise InvalidSpecError(
                f"input {name!r} is static: it takes no shapes ({inputs[name]})",
                hint="Leave its shapes out. For other sizes export the model with dynamic dimensions.",
            )
    profile = {}
    for name, tensor in inputs.items():
        known = [shapes[name] for shapes in (opt_shapes, max_shapes, min_shapes) if name in shapes]
        if not known:
            if needs_all and tensor.is_dynamic:
                raise InvalidSpecError(
                    f"input {name!r} is dynamic ({tensor}) and needs shapes",
                    hint=f"Give --min-shapes, --opt-shapes and --max-shapes {name}:… or --batch.",
                )
            continue
        span = ShapeRange(
            min_shapes.get(name, known[0]), opt_shapes.get(name, known[0]), max_shapes.get(name, known[0])
        )
        for shape in (span.min, span.opt, span.max):
            _check_fits(tensor, shape)
        profile[name] = span
    return profile


def _check_fits(tensor: Tensor, given: Shape) -> None:
    if not tensor.is_dynamic:
        count = tensor.shape[0] if tensor.shape else 1
        if len(given) != count:
            raise InvalidSpecError(
                f"input {tensor} holds {count} value(s), and {shape_text(given)} is {len(given)}",
                hint="For a static integer input the options give its values, joined by x.",
            )
        return
    if len(given) != len(tensor.shape) or any(
        size not in (DYNAMIC, at) for size, at in zip(tensor.shape, given)
    ):
        raise InvalidSpecError(f"shape {shape_text(given)} does not fit input {tensor}")


def profile_from_batches(model: Model, batches: Sequence[int]) -> dict[str, ShapeRange]:
    """A profile for a model whose only dynamic dimension is the first one of its inputs.

    The smallest batch is min, the largest is max, and opt is the middle one of those asked for.

    Raises:
        InvalidSpecError: something other than the batch is dynamic, so that shapes must be given.
    """
    profile = {}
    sizes = sorted(batches) or [1]
    low, mid, high = sizes[0], sizes[len(sizes) // 2], sizes[-1]
    for tensor in model.inputs:
        if not tensor.is_dynamic:
            continue
        if tensor.shape[0] != DYNAMIC or DYNAMIC in tensor.shape[1:]:
            raise InvalidSpecError(
                f"more than the batch is dynamic in input {tensor}",
                hint=f"Give --min-shapes, --opt-shapes and --max-shapes {tensor.name}:…, or fix it with "
                f"--static {tensor.name}:…",
            )
        rest = tensor.shape[1:]
        profile[tensor.name] = ShapeRange((low, *rest), (mid, *rest), (high, *rest))
    return profile


def shapes_at_batch(model: Model, profile: Mapping[str, ShapeRange], batch: int) -> dict[str, Shape]:
    """Every input's shape at a batch size: the profile's opt shape with the first dimension replaced.

    Raises:
        InvalidSpecError: the batch lies outside the profile, or the model's batch is fixed.
    """
    _check_fixed_batch(model, profile, batch)
    shapes = {}
    for tensor in model.inputs:
        if tensor.name not in profile or not tensor.is_dynamic:
            shapes[tensor.name] = tensor.shape
            continue
        span = profile[tensor.name]
        shape = (batch, *span.opt[1:]) if tensor.shape[:1] == (DYNAMIC,) else span.opt
        if not span.contains(shape):
            raise InvalidSpecError(
                f"batch {batch} is outside the profile of input {tensor.name!r}: "
                f"{shape_text(span.min)} to {shape_text(span.max)}"
            )
        shapes[tensor.name] = shape
    return shapes


def profile_at_batch(
    model: Model, profiles: Sequence[Mapping[str, ShapeRange]], batch: int
) -> Mapping[str, ShapeRange]:
    """The profile that fits a batch best: of those that take it, the one whose opt shapes are nearest.

    Returns:
        The first of several that are equally near; an empty one for a static model.

    Raises:
        InvalidSpecError: no profile takes the batch, or the model's batch is fixed.
    """
    found: list[tuple[float, int]] = []
    refusals: list[InvalidSpecError] = []
    for at, profile in enumerate(profiles or ({},)):
        try:
            shapes = shapes_at_batch(model, profile, batch)
        except InvalidSpecError as error:
            refusals.append(error)
            continue
        far = sum(span.distance(shapes[name]) for name, span in shape_ranges(model, profile).items())
        found.append((far, at))
    if found:
        return profiles[min(found)[1]] if profiles else {}
    if len(refusals) == 1 or "outside" not in refusals[0].message:
        raise refusals[0]
    raise InvalidSpecError(
        f"batch {batch} is outside all {len(refusals)} optimization profiles: "
        + "; ".join(error.message.partition("profile of ")[2] for error in refusals),
        hint="Leave the batch out, or widen a profile.",
    )


def _check_fixed_batch(model: Model, profile: Mapping[str, ShapeRange], batch: int) -> None:
    """Refuses a batch that would be believed and never run: where no input has a dynamic first dimension.

    Inputs without a batch, such as a time step, may stand beside the one that has it.
    """
    sizes = set(first_dimensions(model, profile))
    if DYNAMIC in sizes or batch in (sizes or {1}) or (batch == 1 and fixed_batch(model, profile) == 1):
        return
    where = (
        f"fixed at {' or '.join(map(str, sorted(sizes)))}" if sizes else "not there: its inputs are scalars"
    )
    raise InvalidSpecError(
        f"the model's batch is {where}: it can not run at {batch}",
        hint="Export it with a dynamic batch dimension (or leave --static out), or leave --batch out.",
    )
