"""At which sizes a model is traced and compared."""

from __future__ import annotations

from workers.export.inputs import InputSpec
from workers.export.samples import capture_sizes, other_sizes

BATCH = InputSpec("x", (1, 3), dynamic=((0, "batch"),))


def test_a_dynamic_dimension_is_never_traced_at_one() -> None:
    assert capture_sizes([BATCH]) == {"batch": 2}


def test_two_that_were_one_are_told_apart_by_their_sizes() -> None:
    both = InputSpec("x", (1, 1), dynamic=((0, "batch"), (1, "length")))
    assert capture_sizes([both]) == {"batch": 2, "length": 3}


def test_the_second_comparison_is_at_sizes_of_neither_the_sample_nor_the_trace() -> None:
    found = list(other_sizes([BATCH]))
    assert found[0] == {"batch": 3}
    assert all(sizes["batch"] not in (1, 2) for sizes in found)


def test_a_model_at_its_largest_is_tried_smaller() -> None:
    spec = InputSpec("x", (1, 512), dynamic=((0, "batch"), (1, "length")))
    assert any(sizes["length"] < 512 for sizes in other_sizes([spec]))


def test_nothing_varies_where_nothing_is_dynamic() -> None:
    assert list(other_sizes([InputSpec("x", (1, 3))])) == []
