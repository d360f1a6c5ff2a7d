"""Which tensor goes into which parameter of a model's forward."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from farm.domain.errors import InvalidSpecError
from farm.domain.suggestions import did_you_mean
from workers.export.inputs import with_dynamic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workers.export.inputs import DynamicAxes, InputSpec


class Binding(Protocol):
    """A model's inputs, in the order of its forward.

    Attributes:
        specs: every input with its name and element type.
    """

    @property
    def specs(self) -> tuple[InputSpec, ...]:
        """Every input with its name and element type."""
        ...

    def call(self, model: Any, tensors: Mapping[str, Any]) -> Any:
        """The outputs of the model, in whatever structure it gives them."""
        ...


@dataclass(frozen=True)
class ForwardBinding:
    """The inputs of a `forward`, with its parameters.

    Attributes:
        specs: see `Binding`.
        positional: parameters that can be given by position, in order.
        variadic: of `*tensors`, the name; empty if there is none.
        keywords: of `**tensors`, the name; empty if there is none.
    """

    specs: tuple[InputSpec, ...]
    positional: tuple[str, ...]
    variadic: str = ""
    keywords: str = ""
    named: tuple[str, ...] = ()

    def arguments(self, values: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments by position up to the first gap, the rest by name."""
        leading = []
        for name in self.positional:
            if name not in values:
                break
            leading.append(name)
        leading += [spec.name for spec in self.specs if self._is_variadic(spec.name)]
        return (
            tuple(values[name] for name in leading),
            {spec.name: values[spec.name] for spec in self.specs if spec.name not in leading},
        )

    def call(self, model: Any, tensors: Mapping[str, Any]) -> Any:
        """Runs the model."""
        args, kwargs = self.arguments(tensors)
        return model(*args, **kwargs)

    def by_parameter(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values in the structure of the signature, as `torch.export` wants its dynamic shapes."""
        found: dict[str, Any] = {}
        for spec in self.specs:
            if self._is_variadic(spec.name):
                found[self.variadic] = (*found.get(self.variadic, ()), values[spec.name])
            elif self.keywords and spec.name not in (*self.positional, *self.named):
                found.setdefault(self.keywords, {})[spec.name] = values[spec.name]
            else:
                found[spec.name] = values[spec.name]
        return found

    def _is_variadic(self, name: str) -> bool:
        return bool(self.variadic) and name.startswith(f"{self.variadic}_") and name not in self.positional


def bind_forward(
    model: Any, inputs: Sequence[InputSpec], dynamic: Sequence[DynamicAxes], usual_dtype: str
) -> ForwardBinding:
    """The inputs by the parameters of the model's forward.

    Args:
        model: a module, or TorchScript.
        inputs: in the user's words; those without a name take the next free parameter.
        dynamic: what stays dynamic.
        usual_dtype: of an input that none was named for.

    Raises:
        InvalidSpecError: too few or too many, or a name that is no parameter.
    """
    parameters = _script_parameters(model) or _parameters(model)
    binding, needed = _shape_of(parameters)
    known = (*binding.positional, *binding.named)
    words = f"forward({', '.join(str(name) for name, _, _ in parameters)})"
    if not inputs:
        raise InvalidSpecError(
            f"the shapes of the model's inputs are not said: {words}",
            hint="Give --input SHAPE for each, such as --input 1x3x224x224 or --input ids=1x128:int64.",
        )
    given: dict[str, InputSpec] = {}
    for spec in inputs:
        if not spec.name:
            continue
        if spec.name not in known and not binding.keywords:
            raise InvalidSpecError(
                f"{words} has no parameter {spec.name!r}", hint=did_you_mean(spec.name, known)
            )
        if spec.name in given:
            raise InvalidSpecError(f"input {spec.name!r} is given twice")
        given[spec.name] = spec
    free = [name for name in binding.positional if name not in given]
    extra: list[str] = []
    for spec in inputs:
        if spec.name:
            continue
        if not free and not binding.variadic:
            raise InvalidSpecError(f"{len(inputs)} inputs are given, and the model has {words}")
        name = free.pop(0) if free else f"{binding.variadic}_{len(extra)}"
        if name.startswith(f"{binding.variadic}_") and binding.variadic:
            extra.append(name)
        given[name] = replace(spec, name=name)
    missing = [name for name in needed if name not in given]
    if missing:
        raise InvalidSpecError(
            f"{words} needs {', '.join(missing)} too", hint=f"Give --input {missing[0]}=SHAPE."
        )
    order = [*(name for name in known if name in given), *(name for name in given if name not in known)]
    specs = tuple(replace(given[name], dtype=given[name].dtype or usual_dtype) for name in order)
    return replace(binding, specs=with_dynamic(specs, dynamic))


_Parameter = tuple[str, Any, bool]


def _parameters(model: Any) -> list[_Parameter]:
    found = inspect.signature(model.forward).parameters.values()
    return [(p.name, p.kind, p.default is p.empty) for p in found]


def _script_parameters(model: Any) -> list[_Parameter]:
    """Those of TorchScript, which has a schema and no signature."""
    schema = getattr(getattr(model, "forward", None), "schema", None)
    if schema is None:
        return []
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return [(a.name, kind, not a.has_default_value()) for a in schema.arguments if a.name != "self"]


def _shape_of(parameters: Sequence[_Parameter]) -> tuple[ForwardBinding, list[str]]:
    kinds = inspect.Parameter
    by_kind = {
        kind: [name for name, found, _ in parameters if found is kind]
        for kind in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD, kinds.KEYWORD_ONLY)
    }
    single = (*by_kind[kinds.VAR_POSITIONAL], *by_kind[kinds.VAR_KEYWORD])
    binding = ForwardBinding(
        specs=(),
        positional=tuple(
            name for name, kind, _ in parameters if name not in single and kind is not kinds.KEYWORD_ONLY
        ),
        variadic="".join(by_kind[kinds.VAR_POSITIONAL]),
        keywords="".join(by_kind[kinds.VAR_KEYWORD]),
        named=tuple(by_kind[kinds.KEYWORD_ONLY]),
    )
    return binding, [name for name, _, is_needed in parameters if is_needed and name not in single]
