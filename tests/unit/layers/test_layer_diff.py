"""What became of one engine's layers in another engine."""

from __future__ import annotations

from farm.domain.layer_diff import Fate, LayerChange, compare_layers
from farm.domain.layers import Layer


def a_layer(name: str, *nodes: str, **changes: str) -> Layer:
    return Layer(name, nodes=nodes or (name,), **{"type": "Conv", "precision": "fp32", **changes})  # type: ignore[arg-type]


def fates(before: list[Layer], after: list[Layer]) -> list[tuple[str, list[str], list[str]]]:
    return [
        (change.fate.value, [layer.name for layer in change.before], [layer.name for layer in change.after])
        for change in compare_layers(before, after)
    ]


def only(before: Layer, after: Layer) -> LayerChange:
    (change,) = compare_layers([before], [after])
    return change


def test_equal_layers_are_the_same() -> None:
    assert fates([a_layer("c0"), a_layer("c1")], [a_layer("c0"), a_layer("c1")]) == [
        ("same", ["c0"], ["c0"]),
        ("same", ["c1"], ["c1"]),
    ]


def test_another_precision_tactic_or_format_is_a_change() -> None:
    change = only(a_layer("c0", tactic="sm80_a"), a_layer("c0", precision="fp16", tactic="sm90_b"))
    assert change.fate is Fate.CHANGED
    assert change.differences == {"precision": ("fp32", "fp16"), "tactic": ("sm80_a", "sm90_b")}


def test_what_one_of_two_engines_does_not_tell_is_no_change() -> None:
    assert only(Layer("c0"), a_layer("c0", tactic="sm90_b")).fate is Fate.SAME


def test_several_layers_that_became_one_were_fused() -> None:
    fused = a_layer("c0 + r0", "c0", "r0")
    assert fates([a_layer("c0"), a_layer("r0")], [fused]) == [("fused", ["c0", "r0"], ["c0 + r0"])]
    assert fates([fused], [a_layer("c0"), a_layer("r0")]) == [("split", ["c0 + r0"], ["c0", "r0"])]


def test_layers_that_share_nodes_crosswise_were_regrouped() -> None:
    before = [a_layer("a + b", "a", "b"), a_layer("c")]
    after = [a_layer("a"), a_layer("b + c", "b", "c")]
    assert fates(before, after) == [("regrouped", ["a + b", "c"], ["a", "b + c"])]


def test_layers_without_counterpart_were_lost_or_added_which_come_last() -> None:
    reformat = Layer("Reformatting CopyNode for Input Tensor 0 to c0")
    before, after = [a_layer("gone"), a_layer("c0")], [reformat, a_layer("c0")]
    assert fates(before, after) == [
        ("lost", ["gone"], []),
        ("same", ["c0"], ["c0"]),
        ("added", [], [reformat.name]),
    ]


def test_layers_of_one_name_are_matched_in_their_order() -> None:
    twice = [Layer("copy", precision="fp32"), Layer("copy", precision="fp16")]
    assert [change.fate for change in compare_layers(twice, twice)] == [Fate.SAME, Fate.SAME]


def test_a_fused_layer_that_kept_the_name_of_one_of_its_nodes_is_seen() -> None:
    assert fates([a_layer("c0"), a_layer("r0")], [a_layer("r0", "c0", "r0")]) == [
        ("fused", ["c0", "r0"], ["r0"])
    ]


def test_times_of_a_group_are_added_up() -> None:
    (change,) = compare_layers(
        [a_layer("c0"), a_layer("r0")],
        [a_layer("c0 + r0", "c0", "r0")],
        {"c0": 0.25, "r0": 0.125},
        {"c0 + r0": 0.3},
    )
    assert (change.before_ms, change.after_ms) == (0.375, 0.3)


def test_without_a_profile_there_are_no_times() -> None:
    (change,) = compare_layers([a_layer("c0")], [a_layer("c0")], None, {"another": 1.0})
    assert (change.before_ms, change.after_ms) == (None, None)


def test_no_layer_is_left_out_and_none_stands_twice() -> None:
    before = [a_layer("a + b", "a", "b"), a_layer("c"), a_layer("d"), Layer("copy"), a_layer("x")]
    after = [
        a_layer("a"),
        a_layer("b + c", "b", "c"),
        a_layer("d", precision="int8"),
        Layer("copy"),
        Layer("copy"),
    ]
    changes = compare_layers(before, after)
    assert sorted(layer.name for change in changes for layer in change.before) == sorted(
        layer.name for layer in before
    )
    assert sorted(layer.name for change in changes for layer in change.after) == sorted(
        layer.name for layer in after
    )
