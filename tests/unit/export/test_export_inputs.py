"""Inputs of an export, in a user's words."""

from __future__ import annotations

import pytest

from farm.domain.errors import InvalidSpecError
from workers.export.inputs import InputSpec, parse_dynamic, parse_input, with_dynamic


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("1x3x224x224", InputSpec("", (1, 3, 224, 224))),
        ("volume=1x1x8x8x8", InputSpec("volume", (1, 1, 8, 8, 8))),
        ("image=1x3x8x8:fp16", InputSpec("image", (1, 3, 8, 8), "float16")),
        ("ids=1x128:int64:0..30521", InputSpec("ids", (1, 128), "int64", 0, 30521)),
        ("x=4:float32:-1..0.5", InputSpec("x", (4,), "float32", -1, 0.5)),
        ("x=4:0..1", InputSpec("x", (4,), "", 0, 1)),
        ("scale=scalar:float32", InputSpec("scale", (), "float32")),
        ("keep=1x8:bool", InputSpec("keep", (1, 8), "bool")),
    ],
)
def test_an_input_has_a_name_a_shape_a_type_and_a_range(text: str, spec: InputSpec) -> None:
    assert parse_input(text) == spec


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not an input"),
        ("1x", "not a shape"),
        ("x=1x0", "without elements"),
        ("99999999999999999999999x3", "no dimension can be 99999999999999999999999"),
        ("x=1x2:int65", "unknown element type"),
        ("x=1x2:int64:9..0", "ends before it begins"),
        ("x=1x2:int64:0..0.5", "whole numbers"),
        ("x=1x2:bool:0..1", "no range"),
        ("x=1x2:int64:0", "not an input"),
    ],
)
def test_what_is_no_input_is_refused(text: str, words: str) -> None:
    with pytest.raises(InvalidSpecError, match=words):
        parse_input(text)


def test_a_word_alone_is_the_first_dimension_of_every_input() -> None:
    specs = with_dynamic(
        [InputSpec("a", (2, 3)), InputSpec("b", (2,)), InputSpec("c", ())], [parse_dynamic("batch")]
    )
    assert [spec.dynamic for spec in specs] == [((0, "batch"),), ((0, "batch"),), ()]


def test_axes_are_named_one_by_one_and_count_from_the_end_too() -> None:
    (spec,) = with_dynamic([InputSpec("x", (2, 3, 4))], [parse_dynamic("x:0=batch,-1=width")])
    assert spec.dynamic == ((0, "batch"), (2, "width"))
    assert spec.shape_at({"batch": 5, "width": 6}) == (5, 3, 6)


@pytest.mark.parametrize(
    ("dynamic", "words"),
    [
        ("z:0=batch", "no input"),
        ("a:2=batch", "no axis 2"),
        ("a:0=n,0=m", "both n and m"),
        ("a:0=n,1=n", "is 2 in input 'a' and 3"),
        ("batch", "is 2 in input 'a' and 5 in 'b'"),
    ],
)
def test_dynamic_dimensions_must_exist_and_agree(dynamic: str, words: str) -> None:
    with pytest.raises(InvalidSpecError, match=words):
        with_dynamic([InputSpec("a", (2, 3)), InputSpec("b", (5,))], [parse_dynamic(dynamic)])


@pytest.mark.parametrize("text", ["", "0", "a:batch", "a:0", "a:0=", "a b"])
def test_what_names_no_dimension_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpecError, match="not a dynamic dimension"):
        parse_dynamic(text)
