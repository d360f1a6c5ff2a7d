"""Several optimization profiles in one engine: how they are given, and which one an inference runs in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.domain.errors import InvalidSpecError
from farm.domain.profile_shapes import opt_shapes_of, profile_for_samples, usual_batches
from farm.domain.profiles import profile_at_batch, profiles_from_wishes, shapes_at_batch
from farm.domain.shapes import ShapeRange
from tests.factories import a_model, a_shape_range, a_tensor

if TYPE_CHECKING:
    from farm.domain.shapes import Shape

MODEL = a_model(inputs=(a_tensor("x", (-1, 3, -1, -1)),))


def x(batch: int, size: int) -> dict[str, Shape]:
    return {"x": (batch, 3, size, size)}


def span(low: int, mid: int, high: int, size: int) -> dict[str, ShapeRange]:
    return {"x": ShapeRange(*(x(batch, size)["x"] for batch in (low, mid, high)))}


SMALL, LARGE = span(1, 8, 32, 224), span(1, 1, 4, 512)


# How they are given.


def test_the_nth_of_each_list_makes_the_nth_profile() -> None:
    found = profiles_from_wishes(
        MODEL, [x(1, 224), x(1, 512)], [x(8, 224), x(1, 512)], [x(32, 224), x(4, 512)], ()
    )
    assert found == (SMALL, LARGE)


def test_a_list_that_is_left_out_follows_from_the_others() -> None:
    found = profiles_from_wishes(MODEL, [x(1, 224), x(1, 512)], [], [x(32, 224), x(4, 512)], ())
    assert [profile["x"].opt for profile in found] == [(32, 3, 224, 224), (4, 3, 512, 512)]


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(InvalidSpecError, match="2 times min, 1 times opt and 0 times max"):
        profiles_from_wishes(MODEL, [x(1, 224), x(1, 512)], [x(8, 224)], [], ())


def test_the_same_profile_twice_is_refused() -> None:
    with pytest.raises(InvalidSpecError, match="profiles 1 and 3 are the same"):
        profiles_from_wishes(MODEL, [], [x(1, 224), x(1, 512), x(1, 224)], [], ())


def test_every_profile_is_checked_against_the_model() -> None:
    with pytest.raises(InvalidSpecError, match="does not fit"):
        profiles_from_wishes(MODEL, [], [x(1, 224), {"x": (1, 4, 512, 512)}], [], ())
    with pytest.raises(InvalidSpecError, match="needs shapes"):
        profiles_from_wishes(MODEL, [], [x(1, 224), {}], [], ())


def test_without_shapes_the_batches_make_one_profile_and_a_static_model_has_none() -> None:
    assert profiles_from_wishes(a_model(), [], [], [], (1, 8, 16)) == ({"input": a_shape_range(1, 8, 16)},)
    assert profiles_from_wishes(a_model(inputs=(a_tensor("x", (2, 3)),)), [], [], [], ()) == ()


# Which one an inference runs in.


@pytest.mark.parametrize(
    ("batch", "profile"), [(1, LARGE), (2, LARGE), (3, SMALL), (4, SMALL), (8, SMALL), (32, SMALL)]
)
def test_a_batch_runs_in_the_profile_whose_tuned_shapes_are_nearest(
    batch: int, profile: dict[str, ShapeRange]
) -> None:
    assert profile_at_batch(MODEL, (SMALL, LARGE), batch) == profile


def test_of_equally_near_profiles_the_first_is_taken() -> None:
    other = span(1, 8, 32, 512)
    assert profile_at_batch(MODEL, (SMALL, other), 8) == SMALL
    assert profile_at_batch(MODEL, (other, SMALL), 8) == other


def test_a_batch_outside_every_profile_is_refused_with_all_of_them() -> None:
    with pytest.raises(InvalidSpecError, match="outside all 2 optimization profiles") as caught:
        profile_at_batch(MODEL, (SMALL, LARGE), 64)
    assert "1x3x224x224 to 32x3x224x224" in caught.value.message
    assert "1x3x512x512 to 4x3x512x512" in caught.value.message


def test_a_static_model_has_an_empty_profile_and_its_own_batch_alone() -> None:
    model = a_model(inputs=(a_tensor("x", (4, 3)),))
    assert profile_at_batch(model, (), 4) == {}
    with pytest.raises(InvalidSpecError, match="fixed at 4"):
        profile_at_batch(model, (), 8)


@given(
    st.lists(st.tuples(st.integers(1, 64), st.integers(0, 64), st.integers(0, 64)), min_size=1, max_size=4)
)
def test_a_batch_that_is_taken_lies_in_its_profile(bounds: list[tuple[int, int, int]]) -> None:
    profiles = [span(low, low + more, low + more + most, 64) for low, more, most in bounds]
    for batch in {size for low, more, most in bounds for size in (low, low + more, low + more + most)}:
        profile = profile_at_batch(MODEL, profiles, batch)
        assert profile["x"].contains(shapes_at_batch(MODEL, profile, batch)["x"])


def test_without_a_wish_every_profiles_bounds_are_measured() -> None:
    assert usual_batches(MODEL, (SMALL, LARGE)) == (1, 4, 8, 32)
    assert usual_batches(a_model(inputs=(a_tensor("x", (4, 3)),)), ()) == (4,)


# Samples.


def test_samples_run_in_the_profile_that_takes_their_size() -> None:
    assert profile_for_samples(MODEL, (SMALL, LARGE), {"x": (100, 3, 512, 512)}) == LARGE
    assert profile_for_samples(MODEL, (SMALL, LARGE), {"x": (100, 3, 224, 224)}) == SMALL


def test_samples_that_fit_nowhere_go_to_the_first_profile_which_says_so() -> None:
    assert profile_for_samples(MODEL, (SMALL, LARGE), {"x": (100, 3, 96, 96)}) == SMALL


def test_the_tuned_shapes_are_those_of_dynamic_inputs() -> None:
    model = a_model(inputs=(a_tensor("x", (-1, 3, -1, -1)), a_tensor("mask", (77, 4))))
    assert opt_shapes_of(model, SMALL) == {"x": (8, 3, 224, 224), "mask": (77, 4)}


@pytest.mark.parametrize(
    ("given", "gives", "batch"),
    [
        ((8, 3), (8, 10), 8),
        # A signal, or a picture without a batch: one inference.
        ((16_000,), (), 1),
        ((3, 224, 224), (1000,), 1),
        # Nobody knows how its output begins.
        ((4, 3), (-1, 2), 4),
    ],
)
def test_a_first_dimension_is_a_batch_where_an_output_begins_with_it(
    given: tuple[int, ...], gives: tuple[int, ...], batch: int
) -> None:
    model = a_model(inputs=(a_tensor("x", given),), outputs=(a_tensor("y", gives),))
    assert usual_batches(model, ()) == (batch,)
    assert profile_at_batch(model, (), batch) == {}
