"""What became of one engine's layers in another engine of the same model."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Set, Tuple

if TYPE_CHECKING:
    from typing import Iterator

    from farm.domain.layers import Layer


class Fate(str, Enum):
    """What became of some layers."""

    SAME = "same"
    #: One layer each, which differ in type, precision, tactic or formats.
    CHANGED = "changed"
    #: Several became one.
    FUSED = "fused"
    #: One became several.
    SPLIT = "split"
    #: Several became several others.
    REGROUPED = "regrouped"
    LOST = "lost"
    ADDED = "added"


@dataclass(frozen=True)
class LayerChange:
    """Layers of one engine and those of the other that compute the same nodes of the model.

    Attributes:
        fate: what became of them.
        before: of the first engine.
        after: of the second.
        differences: of a changed layer what it was and is: `{"precision": ("fp32", "fp16")}`; of other groups
            their precisions alone.
        before_ms: median of the time that they took; none if nobody measured it.
        after_ms: the same.
    """

    fate: Fate
    before: Tuple[Layer, ...]
    after: Tuple[Layer, ...]
    differences: Mapping[str, Tuple[str, str]]
    before_ms: Optional[float] = None
    after_ms: Optional[float] = None

    def as_json(self) -> dict[str, Any]:
        """The form in JSON."""
        return {
            "fate": self.fate.value,
            "before": [layer.name for layer in self.before],
            "after": [layer.name for layer in self.after],
            "differences": {name: list(pair) for name, pair in self.differences.items()},
            "before_ms": self.before_ms,
            "after_ms": self.after_ms,
        }


Times = Mapping[str, float]


def compare_layers(
    before: Sequence[Layer],
    after: Sequence[Layer],
    before_ms: Optional[Times] = None,
    after_ms: Optional[Times] = None,
) -> list[LayerChange]:
    """What became of every layer, in the order of the first engine; what was added comes last.

    Layers of one name are one; what is left is matched by the nodes of the model that the layers compute.

    Args:
        before: of the first engine.
        after: of the second.
        before_ms: median time of the first one's layers, by name.
        after_ms: the same of the second.
    """
    pairs, rest_before, rest_after = _by_name(before, after)
    groups: List[Tuple[List[int], List[int]]] = [([a], [b]) for a, b in pairs]
    groups += _by_nodes(before, after, rest_before, rest_after)
    groups.sort(key=lambda group: (not group[0], group[0] or group[1]))
    return [
        _change([before[a] for a in group_before], [after[b] for b in group_after], before_ms, after_ms)
        for group_before, group_after in groups
    ]


def _by_name(
    before: Sequence[Layer], after: Sequence[Layer]
) -> Tuple[List[Tuple[int, int]], List[int], List[int]]:
    """Pairs of one name, the first with the first; then the places of those that have none."""
    places: Dict[str, List[int]] = defaultdict(list)
    for place, layer in enumerate(after):
        places[layer.name].append(place)
    pairs, rest = [], []
    for place, layer in enumerate(before):
        other = next((b for b in places[layer.name] if _computes_the_same(layer, after[b])), None)
        if other is not None:
            places[layer.name].remove(other)
            pairs.append((place, other))
        else:
            rest.append(place)
    return pairs, rest, sorted(place for left in places.values() for place in left)


def _computes_the_same(one: Layer, other: Layer) -> bool:
    """Of one name; ONNX Runtime names a fused layer after one of its nodes, so those are asked where they are known."""
    return not one.nodes or not other.nodes or set(one.nodes) == set(other.nodes)


def _by_nodes(
    before: Sequence[Layer], after: Sequence[Layer], rest_before: List[int], rest_after: List[int]
) -> Iterator[Tuple[List[int], List[int]]]:
    """Groups that hang together by the nodes they compute; what computes no node stands alone."""
    at_node: Dict[str, List[Tuple[int, int]]] = defaultdict(list)
    for side, (layers, places) in enumerate(((before, rest_before), (after, rest_after))):
        for place in places:
            for node in layers[place].nodes:
                at_node[node].append((side, place))
    seen: Set[Tuple[int, int]] = set()
    for start in [*((0, place) for place in rest_before), *((1, place) for place in rest_after)]:
        if start in seen:
            continue
        group, open_ = {start}, [start]
        while open_:
            side, place = open_.pop()
            for node in (before, after)[side][place].nodes:
                fresh = [other for other in at_node[node] if other not in group]
                group.update(fresh)
                open_ += fresh
        seen |= group
        yield sorted(p for side, p in group if side == 0), sorted(p for side, p in group if side == 1)


def _change(
    before: Sequence[Layer], after: Sequence[Layer], before_ms: Optional[Times], after_ms: Optional[Times]
) -> LayerChange:
    differences = _differences(before, after)
    return LayerChange(
        fate=_fate(len(before), len(after), has_differences=bool(differences)),
        before=tuple(before),
        after=tuple(after),
        differences=differences,
        before_ms=_time(before, before_ms),
        after_ms=_time(after, after_ms),
    )


def _fate(before: int, after: int, *, has_differences: bool) -> Fate:
    if not before:
        return Fate.ADDED
    if not after:
        return Fate.LOST
    if before == after == 1:
        return Fate.CHANGED if has_differences else Fate.SAME
    if after == 1:
        return Fate.FUSED
    return Fate.SPLIT if before == 1 else Fate.REGROUPED


def _differences(before: Sequence[Layer], after: Sequence[Layer]) -> dict[str, Tuple[str, str]]:
    if not before or not after:
        return {}
    names = ("type", "precision", "tactic", "formats") if len(before) == len(after) == 1 else ("precision",)
    found = {}
    for name in names:
        pair = (_words(before, name), _words(after, name))
        # What one of the two does not tell is no difference.
        if all(pair) and pair[0] != pair[1]:
            found[name] = pair
    return found


def _words(layers: Sequence[Layer], name: str) -> str:
    counts = Counter(str(getattr(layer, name)) for layer in layers)
    return ", ".join(word for word, _ in counts.most_common() if word)


def _time(layers: Sequence[Layer], times: Optional[Times]) -> Optional[float]:
    known = [times[name] for name in {layer.name for layer in layers} if name in times] if times else []
    return sum(known) if known else None
