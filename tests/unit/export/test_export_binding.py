"""Which input goes into which parameter of a forward."""

from __future__ import annotations

from typing import Any

import pytest

from farm.domain.errors import InvalidSpecError
from workers.export.binding import bind_forward
from workers.export.inputs import InputSpec, parse_input


class Model:
    def forward(self, first: Any, second: Any = None, third: Any = None, *, last: Any = None) -> Any: ...


class Variadic:
    def forward(self, first: Any, *rest: Any, **named: Any) -> Any: ...


def named(model: Any, *words: str) -> list[str]:
    return [
        spec.name for spec in bind_forward(model, [parse_input(word) for word in words], [], "float32").specs
    ]


def test_inputs_without_a_name_take_the_next_parameter() -> None:
    assert named(Model(), "1x2", "third=1x4", "1x3") == ["first", "second", "third"]


def test_inputs_are_in_the_order_of_forward() -> None:
    assert named(Model(), "last=1", "second=2", "first=3") == ["first", "second", "last"]


def test_after_a_gap_inputs_go_by_name() -> None:
    binding = bind_forward(Model(), [parse_input("first=1"), parse_input("third=1")], [], "float32")
    assert binding.arguments({"first": 1, "third": 3}) == ((1,), {"third": 3})


def test_a_forward_of_any_number_of_tensors_takes_them() -> None:
    binding = bind_forward(Variadic(), [parse_input(w) for w in ("1", "2", "3", "extra=4")], [], "float32")
    values = {spec.name: spec.shape[0] for spec in binding.specs}
    assert binding.arguments(values) == ((1, 2, 3), {"extra": 4})
    assert binding.by_parameter(values) == {"first": 1, "rest": (2, 3), "named": {"extra": 4}}


def test_the_usual_type_is_that_of_the_weights() -> None:
    (spec,) = bind_forward(Model(), [InputSpec("", (1,))], [], "float16").specs
    assert spec.dtype == "float16"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "are not said"),
        (["fist=1"], "no parameter 'fist'"),
        (["first=1", "first=2"], "given twice"),
        (["second=1"], "needs first too"),
        (["1", "1", "1", "1"], "4 inputs are given"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(InvalidSpecError, match=message):
        named(Model(), *words)
