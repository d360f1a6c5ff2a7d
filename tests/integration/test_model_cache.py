"""A model that was read before is read again only if a file of it changed."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from farm.domain.errors import InvalidModelError
from farm.storage.model_cache import ModelCache
from farm.storage.onnx_files import read_model

if TYPE_CHECKING:
    from pathlib import Path

HOUR_NS = 3600 * 10**9


def save_model(folder: Path, value: float = 1.0, *, external: bool = False) -> Path:
    """A product with a constant, as old as an hour."""
    weights = numpy_helper.from_array(np.full((8, 4), value, np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "m.onnx"
    for old in folder.iterdir():
        old.unlink()
    onnx.save(model, path, save_as_external_data=external, location="w.bin", size_threshold=0)
    return path


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can set a file's change time back, so the clock is put forward instead."""
    import farm.storage.model_cache as module

    monkeypatch.setattr(module, "_SETTLED_NS", -HOUR_NS)


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json"))


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("external", [False, True])
def test_what_was_read_before_is_the_same_model(tmp_path: Path, external: bool) -> None:
    path = save_model(tmp_path / "model", external=external)
    cache = ModelCache(tmp_path / "cache")
    first = cache.read(path)
    assert first == read_model(path)
    assert len(entries(tmp_path / "cache")) == 1
    assert cache.read(path) == first


@pytest.mark.usefixtures("settled")
def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    path = save_model(tmp_path / "model")
    cache = ModelCache(tmp_path / "cache")
    cache.read(path)
    (entry,) = entries(tmp_path / "cache")
    document = json.loads(entry.read_text())
    document["model"]["producer"] = "what was remembered"
    entry.write_text(json.dumps(document))
    assert cache.read(path).producer == "what was remembered"


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("external", [False, True])
def test_other_weights_of_the_same_size_and_time_are_another_model(tmp_path: Path, external: bool) -> None:
    path = save_model(tmp_path / "model", 1.0, external=external)
    cache = ModelCache(tmp_path / "cache")
    before = cache.read(path)
    times = {file.name: file.stat() for file in path.parent.iterdir()}
    save_model(tmp_path / "model", 2.0, external=external)
    for file in path.parent.iterdir():
        os.utime(file, ns=(times[file.name].st_atime_ns, times[file.name].st_mtime_ns))
    assert cache.read(path).digest.sha256 == read_model(path).digest.sha256 != before.digest.sha256


@pytest.mark.usefixtures("settled")
def test_external_data_that_became_a_link_is_refused_as_ever(tmp_path: Path) -> None:
    path = save_model(tmp_path / "model", external=True)
    cache = ModelCache(tmp_path / "cache")
    cache.read(path)
    shutil.move(path.parent / "w.bin", tmp_path / "elsewhere.bin")
    (path.parent / "w.bin").symlink_to(tmp_path / "elsewhere.bin")
    with pytest.raises(InvalidModelError):
        cache.read(path)


def test_a_file_that_changed_a_moment_ago_is_not_remembered(tmp_path: Path) -> None:
    path = save_model(tmp_path / "model")
    ModelCache(tmp_path / "cache").read(path)
    assert entries(tmp_path / "cache") == []


@pytest.mark.usefixtures("settled")
def test_a_damaged_entry_is_only_a_miss(tmp_path: Path) -> None:
    path = save_model(tmp_path / "model")
    cache = ModelCache(tmp_path / "cache")
    cache.read(path)
    for damage in ("", "{", "[]", '{"format": 1}', "null"):
        entries(tmp_path / "cache")[0].write_text(damage)
        assert cache.read(path) == read_model(path)


@pytest.mark.usefixtures("settled")
def test_a_folder_that_can_not_be_written_costs_time_alone(tmp_path: Path) -> None:
    path = save_model(tmp_path / "model")
    (tmp_path / "file").write_text("")
    assert ModelCache(tmp_path / "file" / "cache").read(path) == read_model(path)
