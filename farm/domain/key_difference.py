"""Which components of two engines' keys differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, NamedTuple, Tuple

if TYPE_CHECKING:
    from farm.domain.specs import BuildSpec


class KeyDifference(NamedTuple):
    """A component, such as `builder_config.sparse_weights`, with both values; none where one has it not."""

    component: str
    before: Any
    after: Any


def key_differences(before: BuildSpec, after: BuildSpec) -> list[KeyDifference]:
    """The components in which two keys differ, in the order in which a spec has them."""
    one, other = _flat(before.as_json()), _flat(after.as_json())
    names = list(dict.fromkeys((*one, *other)))
    return [
        KeyDifference(name, one.get(name), other.get(name))
        for name in names
        if one.get(name) != other.get(name)
    ]


def _flat(value: Mapping[str, Any], path: Tuple[str, ...] = ()) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, item in value.items():
        if isinstance(item, Mapping):
            found |= _flat(item, (*path, name))
        elif isinstance(item, list) and item and isinstance(item[0], Mapping):
            for position, entry in enumerate(item):
                found |= _flat(entry, (*path, f"{name}[{position}]"))
        else:
            found[".".join((*path, name))] = item
    return found
