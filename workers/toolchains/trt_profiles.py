"""Optimization profiles of a TensorRT network: ranges of shapes, and of the values of inputs that hold a shape.

Shared by TensorRT and TensorRT-RTX.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farm.domain.errors import InvalidSpecError
from farm.domain.shapes import DYNAMIC, shape_text
from farm.domain.suggestions import did_you_mean
from workers.toolchains.trt_log import TrtLog, spec_refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from farm.domain.shapes import Shape, ShapeRange


def add_profiles(
    builder: Any, config: Any, network: Any, profiles: Sequence[Mapping[str, ShapeRange]], log: TrtLog
) -> None:
    """Gives the config one optimization profile per entry, and checks what TensorRT does not.

    TensorRT's own calls raise nothing for a bad profile: `set_shape` takes min > max, and
    `add_optimization_profile` answers -1 (measured).

    Raises:
        InvalidSpecError: an input is unknown or not covered, or a range does not fit.
    """
    inputs = [_Input(tensor) for tensor in map(network.get_input, range(network.num_inputs))]
    wanting = [given for given in inputs if given.is_dynamic or given.holds_shape]
    for ranges in profiles or ({},):
        for name in ranges:
            if name not in {given.name for given in inputs}:
                raise InvalidSpecError(
                    f"the model has no input {name!r}",
                    hint=did_you_mean(name, [given.name for given in inputs]),
                )
        for given in inputs:
            given.check(ranges.get(given.name))
        if not wanting:
            continue
        profile = builder.create_optimization_profile()
        for given in wanting:
            given.add_to(profile, ranges[given.name], log)
        if config.add_optimization_profile(profile) < 0:
            raise spec_refusal(log, f"the optimization profile {_profile_text(ranges)}")


class _Input:
    """An input of a network, as far as profiles go."""

    def __init__(self, tensor: Any) -> None:
        self.name: str = tensor.name
        self.shape: Shape = tuple(tensor.shape)
        self.is_dynamic = DYNAMIC in self.shape
        self.holds_shape = bool(tensor.is_shape_tensor)

    def check(self, span: ShapeRange | None) -> None:
        """Refuses what does not fit the input, before TensorRT takes it in silence."""
        if self.holds_shape and self.is_dynamic:
            raise InvalidSpecError(
                f"input {self.name!r} holds a shape, and how many sizes it holds is dynamic",
                hint=f"TensorRT wants that fixed: give --static {self.name}:…, or export the model so.",
            )
        if span is None:
            if self.holds_shape:
                count = self.shape[0] if self.shape else 1
                raise InvalidSpecError(
                    f"input {self.name!r} holds a shape: the builder needs the values that it may take",
                    hint=f"Give --min-shapes, --opt-shapes and --max-shapes {self.name}:…, {count} value(s) "
                    "joined by x.",
                )
            if self.is_dynamic:
                raise InvalidSpecError(
                    f"input {self.name!r} is dynamic ({shape_text(self.shape)}) and no optimization profile "
                    "covers it",
                    hint=f"Give --min-shapes, --opt-shapes and --max-shapes {self.name}:… or --batch.",
                )
            return
        if not self.is_dynamic and not self.holds_shape:
            raise InvalidSpecError(
                f"input {self.name!r} is static and feeds no shape: it takes neither shapes nor values",
                hint="Leave it out of --min-shapes, --opt-shapes and --max-shapes.",
            )
        for given in (span.min, span.opt, span.max):
            self._check_fits(tuple(given))

    def add_to(self, profile: Any, span: ShapeRange, log: TrtLog) -> None:
        """Gives a profile the input's range."""
        if self.holds_shape:
            _set(profile.set_shape_input, profile.get_shape_input, self.name, span, log)
        else:
            _set(profile.set_shape, profile.get_shape, self.name, span, log)

    def _check_fits(self, given: Shape) -> None:
        if self.holds_shape:
            if len(given) != (self.shape[0] if self.shape else 1):
                raise InvalidSpecError(
                    f"{shape_text(given)} is {len(given)} value(s), and input {self.name!r} of shape "
                    f"{shape_text(self.shape)} holds another number"
                )
        elif len(given) != len(self.shape) or any(
            size not in (DYNAMIC, at) for size, at in zip(self.shape, given, strict=True)
        ):
            raise InvalidSpecError(
                f"shape {shape_text(given)} does not fit input {self.name!r} of shape {shape_text(self.shape)}"
            )


def _set(
    setter: Callable[..., Any],
    getter: Callable[[str], Any],
    name: str,
    span: ShapeRange,
    log: TrtLog,
) -> None:
    wanted = [tuple(span.min), tuple(span.opt), tuple(span.max)]
    try:
        setter(name, *wanted)
        got: list[Shape] | None = [tuple(shape) for shape in getter(name)]
    except (IndexError, RuntimeError, TypeError, ValueError):
        got = None
    if got != wanted:
        raise spec_refusal(log, f"the profile of input {name!r}: {' '.join(map(shape_text, wanted))}")


def _profile_text(ranges: Mapping[str, ShapeRange]) -> str:
    return ", ".join(
        f"{name}: {shape_text(span.min)} {shape_text(span.opt)} {shape_text(span.max)}"
        for name, span in ranges.items()
    )
