"""Digests of bytes, and canonical JSON: one byte string per value."""

from __future__ import annotations

import hashlib
import io
import json
from enum import Enum
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.domain.digests import (
    CHUNK_BYTES,
    Digest,
    canonical_json,
    chunks_of,
    digest_of_bytes,
    digest_of_file,
    digest_of_json,
)
from farm.domain.errors import InvalidRequestError
from farm.domain.targets import DeviceKind

if TYPE_CHECKING:
    from pathlib import Path

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.binary())
def test_a_digest_is_the_sha256_and_the_size(data: bytes) -> None:
    digest = digest_of_bytes(data)
    assert (digest.sha256, digest.size_bytes) == (hashlib.sha256(data).hexdigest(), len(data))


@given(st.binary())
def test_a_digest_survives_its_text(data: bytes) -> None:
    assert Digest.parse(str(digest_of_bytes(data))) == digest_of_bytes(data)


def test_a_file_has_the_digest_of_its_bytes(tmp_path: Path) -> None:
    data = b"x" * (2 * CHUNK_BYTES + 1)
    (tmp_path / "model.onnx").write_bytes(data)
    assert digest_of_file(tmp_path / "model.onnx") == digest_of_bytes(data)


def test_a_stream_is_read_in_chunks() -> None:
    sizes = [len(chunk) for chunk in chunks_of(io.BytesIO(b"x" * (2 * CHUNK_BYTES + 1)))]
    assert sizes == [CHUNK_BYTES, CHUNK_BYTES, 1]


def test_people_see_the_first_twelve_digits() -> None:
    assert digest_of_bytes(b"").short == "e3b0c44298fc"


@pytest.mark.parametrize("sha256", ["", "ab", "g" * 64, "A" * 64, "0" * 63, "0" * 65])
def test_what_is_not_a_sha256_is_refused(sha256: str) -> None:
    with pytest.raises(InvalidRequestError):
        Digest(sha256, 1)


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(InvalidRequestError):
        Digest("0" * 64, -1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        f"md5:{'0' * 64}/1",
        "0" * 64,
        f"sha256:{'0' * 64}",
        f"sha256:{'0' * 64}/",
        f"sha256:{'0' * 64}/-1",
    ],
)
def test_what_is_not_a_digest_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        Digest.parse(text)


@given(json_values)
def test_canonical_json_is_json_of_the_same_value(value: object) -> None:
    assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(st.text(), json_values, max_size=6), st.randoms())
def test_the_order_of_a_dictionary_does_not_count(value: dict[str, object], random) -> None:
    names = list(value)
    random.shuffle(names)
    assert canonical_json({name: value[name] for name in names}) == canonical_json(value)


@given(st.lists(json_values, max_size=6))
def test_tuples_are_written_as_lists(values: list[object]) -> None:
    assert canonical_json(tuple(values)) == canonical_json(values)


@given(st.frozensets(st.integers() | st.text(), max_size=8), st.randoms())
def test_the_order_of_a_set_does_not_count(values: frozenset[object], random) -> None:
    members = list(values)
    random.shuffle(members)
    assert canonical_json(set(members)) == canonical_json(values)


@given(json_values, json_values)
def test_other_values_have_other_digests(one: object, other: object) -> None:
    # `1 == True` in Python, but not in JSON.
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (digest_of_json(one) == digest_of_json(other)) is same


def test_there_is_no_white_space_and_no_escape() -> None:
    assert canonical_json({"b": [1, None, True], "a": "é"}) == '{"a":"é","b":[1,null,true]}'.encode()


def test_enums_are_written_as_their_values() -> None:
    class Level(Enum):
        HIGH = "high"

    assert canonical_json([DeviceKind.GPU, Level.HIGH]) == b'["gpu","high"]'


@given(st.floats())
def test_floats_are_refused_however_deep(number: float) -> None:
    class Constant(Enum):
        ONE = 1.0

    for value in (number, [number], {"a": {"b": (number,)}}, {number}, Constant.ONE):
        with pytest.raises(InvalidRequestError):
            canonical_json(value)


@pytest.mark.parametrize("value", [b"bytes", object(), 1j, {1: "a number as key"}, {None: 1}, [{("a",): 1}]])
def test_what_is_not_json_is_refused(value: object) -> None:
    with pytest.raises(InvalidRequestError):
        canonical_json(value)


def test_half_a_character_is_refused() -> None:
    with pytest.raises(InvalidRequestError):
        canonical_json({"salt": "caf\udce9"})
