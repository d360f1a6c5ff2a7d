"""The inputs of a `torch.export` program: what they are was fixed when it was made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from farm.domain.errors import InvalidSpecError
from farm.domain.shapes import shape_text
from farm.domain.suggestions import did_you_mean
from workers.export.inputs import InputSpec, with_dynamic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workers.export.inputs import DynamicAxes

_HINT = "Make it again: torch.export.export(…, dynamic_shapes=…)."


@dataclass(frozen=True)
class ProgramBinding:
    """The inputs of a program, in its own order.

    Attributes:
        specs: see `Binding`.
        leaves: every leaf of its arguments: the name of a tensor, or none and a constant.
        structure: how the leaves make arguments.
        unpytree: the function that puts them together.
    """

    specs: tuple[InputSpec, ...]
    leaves: tuple[tuple[str, Any], ...]
    structure: Any
    unpytree: Any

    def call(self, model: Any, tensors: Mapping[str, Any]) -> Any:
        """Runs the program's module."""
        values = [tensors[name] if name else constant for name, constant in self.leaves]
        args, kwargs = self.unpytree(values, self.structure)
        return model(*args, **kwargs)


def bind_program(
    torch: Any, program: Any, inputs: Sequence[InputSpec], dynamic: Sequence[DynamicAxes]
) -> ProgramBinding:
    """The program's own inputs, with the names and ranges that the user gives them.

    Raises:
        InvalidSpecError: what is asked for is not what the program was made for.
    """
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    user_input = torch.export.graph_signature.InputKind.USER_INPUT
    leaves: list[tuple[str, Any]] = []
    specs: dict[str, InputSpec] = {}
    open_axes: dict[str, dict[int, str]] = {}
    for spec in program.graph_signature.input_specs:
        if spec.kind is not user_input:
            continue
        name, value = spec.arg.name, values.get(spec.arg.name)
        if not isinstance(value, torch.Tensor):
            leaves.append(("", getattr(spec.arg, "value", None)))
            continue
        leaves.append((name, None))
        sizes = [size if isinstance(size, int) else size.node.hint for size in value.shape]
        open_axes[name] = {
            axis: str(size.node.expr) for axis, size in enumerate(value.shape) if not isinstance(size, int)
        }
        specs[name] = InputSpec(name, tuple(map(int, sizes)), str(value.dtype).removeprefix("torch."))
    for wish in _named(inputs, list(specs)):
        specs[wish.name] = _fitted(specs[wish.name], wish, open_axes[wish.name])
    wanted = with_dynamic(tuple(specs.values()), dynamic)
    found = tuple(_checked(spec, open_axes[spec.name]) for spec in wanted)
    return ProgramBinding(
        with_own_names(found, open_axes),
        tuple(leaves),
        program.call_spec.in_spec,
        torch.utils._pytree.tree_unflatten,
    )


def with_own_names(
    specs: Sequence[InputSpec], open_axes: Mapping[str, Mapping[int, str]]
) -> tuple[InputSpec, ...]:
    """Dynamic axes that nobody named: `batch` for the first, else by input and axis; equal ones share a name."""
    names: dict[str, str] = {}
    for spec in specs:
        names |= {open_axes[spec.name][axis]: symbol for axis, symbol in spec.dynamic}
    done = []
    for spec in specs:
        for axis, symbol in open_axes[spec.name].items():
            taken = set(names.values())
            usual = "batch" if axis == 0 and "batch" not in taken else f"{spec.name}_{axis}"
            names.setdefault(symbol, usual)
        axes = tuple((axis, names[symbol]) for axis, symbol in sorted(open_axes[spec.name].items()))
        done.append(replace(spec, dynamic=axes))
    return tuple(done)


def _named(inputs: Sequence[InputSpec], known: Sequence[str]) -> list[InputSpec]:
    free = [name for name in known if name not in {spec.name for spec in inputs}]
    found = []
    for spec in inputs:
        if spec.name and spec.name not in known:
            raise InvalidSpecError(
                f"the program has no input {spec.name!r}", hint=did_you_mean(spec.name, known)
            )
        if not spec.name and not free:
            raise InvalidSpecError(f"{len(inputs)} inputs are given, and the program has {', '.join(known)}")
        found.append(spec if spec.name else replace(spec, name=free.pop(0)))
    return found


def _fitted(own: InputSpec, wish: InputSpec, open_axes: Mapping[int, str]) -> InputSpec:
    fits = len(own.shape) == len(wish.shape) and all(
        axis in open_axes or size == wanted
        for axis, (size, wanted) in enumerate(zip(own.shape, wish.shape, strict=True))
    )
    if not fits:
        raise InvalidSpecError(
            f"input {own.name!r} of the program is {shape_text(own.shape)}, which {shape_text(wish.shape)} does not fit",
            hint=_HINT,
        )
    if wish.dtype and wish.dtype != own.dtype:
        raise InvalidSpecError(f"input {own.name!r} of the program is {own.dtype}, not {wish.dtype}")
    return replace(own, shape=wish.shape, low=wish.low, high=wish.high)


def _checked(spec: InputSpec, open_axes: Mapping[int, str]) -> InputSpec:
    for axis, symbol in spec.dynamic:
        if axis not in open_axes:
            raise InvalidSpecError(
                f"dimension {symbol} of input {spec.name!r} was fixed to {spec.shape[axis]} when the program was made",
                hint=_HINT,
            )
    return spec
