"""Inputs and outputs of a network as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from farm.domain.errors import InvalidModelError, InvalidSpecError
from farm.domain.models import Tensor
from farm.domain.networks import NetworkDefinition, fits, parse_tensor, tensor_of

DATA = Tensor("data", "float32", (1, 1, 28, 28))


@pytest.mark.parametrize(
    ("text", "tensor"),
    [
        ("data:1x1x28x28", DATA),
        ("data:float32:1x1x28x28", DATA),
        ("data:fp16:1x8", Tensor("data", "float16", (1, 8))),
        ("ids:int64:1x128", Tensor("ids", "int64", (1, 128))),
        ("data:Nx1x28x28", Tensor("data", "float32", (-1, 1, 28, 28), ("N", "", "", ""))),
        ("data:-1x8", Tensor("data", "float32", (-1, 8))),
        ("data:?x8", Tensor("data", "float32", (-1, 8))),
        ("serving:data:0:1x8", Tensor("serving:data:0", "float32", (1, 8))),
        ("step:int32:scalar", Tensor("step", "int32", ())),
    ],
)
def test_a_tensor_is_a_name_perhaps_a_type_and_a_shape(text: str, tensor: Tensor) -> None:
    assert parse_tensor(text) == tensor


@pytest.mark.parametrize(
    "text", ["data", "1x8", ":1x8", "data:", "data:1xx8", "data:1x8.5", "data:99999999999x1"]
)
def test_what_is_no_tensor_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpecError):
        parse_tensor(text)


def test_an_unknown_type_is_refused_by_name() -> None:
    with pytest.raises(InvalidSpecError, match="float13"):
        tensor_of("data", (1, 8), "float13")


def test_an_open_size_is_any_size() -> None:
    assert fits((-1, 10), (4, 10))
    assert fits((4, 10), (-1, 10))
    assert not fits((4, 10), (5, 10))
    assert not fits((4, 10), (4, 10, 1))


def definition(**changes: Any) -> NetworkDefinition:
    given = {"source": "lenet.py", "function": "build", "weights": "lenet.npz", "inputs": (DATA,)}
    return NetworkDefinition(**{**given, **changes})


def test_a_document_is_read_as_it_was_written() -> None:
    written = definition(outputs=(Tensor("scores", "float32", (1, 10)),), takes_trt=True)
    assert NetworkDefinition.from_json(written.as_json()) == written


@pytest.mark.parametrize("name", ["../lenet.py", "/etc/passwd", "a\\b.py", "..", "network.json"])
def test_a_documents_files_lie_beside_it(name: str) -> None:
    with pytest.raises(InvalidModelError, match="lie beside"):
        definition(source=name)
    with pytest.raises(InvalidModelError, match="lie beside"):
        definition(weights=name)


@pytest.mark.parametrize("name", ["line\nfeed.py", "half\udcff.py"])
def test_a_name_that_can_not_be_printed_is_refused(name: str) -> None:
    with pytest.raises(InvalidModelError, match="can not be printed"):
        definition(source=name)


@pytest.mark.parametrize("document", [{}, [], None, {"farm_network": 1}, {"farm_network": 1, "inputs": 3}])
def test_what_is_no_document_is_refused(document: Any) -> None:
    with pytest.raises(InvalidModelError, match="is no document of a network"):
        NetworkDefinition.from_json(document)


def test_a_document_of_a_later_release_is_refused_as_such() -> None:
    with pytest.raises(InvalidModelError, match="version 2, not 1"):
        NetworkDefinition.from_json({**definition().as_json(), "farm_network": 2})
