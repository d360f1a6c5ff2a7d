"""What is no ONNX model, and how its reader is told."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, helper

from farm.domain.errors import InvalidModelError
from farm.storage.onnx_files import read_model
from tests.integration.onnx_files.onnx_models import (
    EVERY_EXAMPLE,
    content_sha256,
    deep_model,
    refusal_of,
    save_model,
    small_model,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "no such file" in refusal_of(tmp_path / "absent.onnx").message


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "is a folder" in refusal_of(tmp_path).message


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    assert "is empty" in refusal_of(save_model(b"", tmp_path / "m.onnx")).message


def test_a_fifo_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.onnx")

    assert "not a regular file" in refusal_of(tmp_path / "m.onnx").message


def test_a_graph_over_two_gibibytes_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "m.onnx").open("wb") as stream:
        stream.truncate(2**31)

    assert "save_as_external_data" in refusal_of(tmp_path / "m.onnx").hint


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK\x03\x04" + bytes(50), "zip archive"),
        (b"\x80\x02\x8a\x0a", "pickle"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "Git LFS pointer"),
        (b"\x1f\x8b\x08" + bytes(20), "gzip"),
        (b"Hello, I am a text.\n", "not an ONNX model"),
        (b'{"irVersion": "10", "graph": {}}', "not an ONNX model"),
        (bytes(1000), "not an ONNX model"),
        (b"\xff" * 1000, "not an ONNX model"),
    ],
)
def test_a_file_of_another_format_is_called_by_its_name(tmp_path: Path, content: bytes, said: str) -> None:
    assert said in refusal_of(save_model(content, tmp_path / "m.onnx")).message


@EVERY_EXAMPLE
@given(content=st.binary(min_size=1, max_size=300))
def test_random_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    refusal_of(save_model(content, tmp_path / "m.onnx"))


def test_a_truncated_model_is_refused_at_every_cut(tmp_path: Path) -> None:
    whole = small_model().SerializeToString()

    for end in range(1, len(whole)):
        if end == _end_of_first_opset(whole):
            # What is missing there is an opset that no node uses: the model is whole without it.
            continue
        refusal_of(save_model(whole[:end], tmp_path / "m.onnx"))


def _end_of_first_opset(whole: bytes) -> int:
    del (first := ModelProto.FromString(whole)).opset_import[1:]
    return len(first.SerializeToString())


def test_a_cut_that_loses_only_a_description_gives_the_same_model(tmp_path: Path) -> None:
    model = small_model()
    helper.set_model_props(model, {"author": "nobody", "license": "none"})
    whole = model.SerializeToString()
    undescribed = len(small_model().SerializeToString())

    for end in range(undescribed, len(whole)):
        save_model(whole[:end], tmp_path / "m.onnx")
        try:
            read = read_model(tmp_path / "m.onnx")
        except InvalidModelError:
            continue
        assert read.digest.sha256 == content_sha256(whole, tmp_path / "m.onnx")


@EVERY_EXAMPLE
@given(data=st.data())
def test_a_damaged_model_is_read_or_refused_but_never_raises_anything_else(
    tmp_path: Path, data: st.DataObject
) -> None:
    content = bytearray(deep_model().SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    save_model(bytes(content), tmp_path / "m.onnx")

    with contextlib.suppress(InvalidModelError):
        read_model(tmp_path / "m.onnx")
