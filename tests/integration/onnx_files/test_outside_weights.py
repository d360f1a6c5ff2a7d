"""Weights outside the graph: where they may lie, and what is refused."""

from __future__ import annotations

import os
import shutil
import socket
import tracemalloc
from typing import TYPE_CHECKING

import onnx
import pytest
from onnx import TensorProto

from farm.domain.digests import digest_of_file
from farm.storage.onnx_files import read_model
from tests.integration.onnx_files.onnx_models import (
    FLOAT,
    WEIGHTS,
    count_places,
    deep_model,
    move_outside,
    refusal_of,
    save_model,
    small_model,
    spread_over_files,
    tensors_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def model_with_outside_weights(path: Path, **entries: object) -> Path:
    """A model whose weights lie in `weights.bin` beside it, unless the entries say otherwise."""
    model = small_model()
    move_outside(model.graph.initializer[0], **{"location": "weights.bin", **entries})
    (path.parent / "weights.bin").write_bytes(WEIGHTS.tobytes())
    return save_model(model, path)


def test_external_files_are_listed_once_after_the_graph(tmp_path: Path) -> None:
    model = deep_model()
    spread_over_files(model, tmp_path, lambda index: ("one.bin", "two.bin")[index % 2])
    path = save_model(model, tmp_path / "m.onnx")

    read = read_model(path)

    assert [file.name for file in read.files] == ["m.onnx", "one.bin", "two.bin"]
    assert all(file.digest == digest_of_file(tmp_path / file.name) for file in read.files)
    assert read.digest.size_bytes == sum((tmp_path / file.name).stat().st_size for file in read.files)


def test_external_data_may_lie_in_a_folder_below_the_model(tmp_path: Path) -> None:
    path = model_with_outside_weights(tmp_path / "m.onnx", location="./parts/weights.bin")
    (tmp_path / "parts").mkdir()
    (tmp_path / "weights.bin").rename(tmp_path / "parts" / "weights.bin")

    assert [file.name for file in read_model(path).files] == ["m.onnx", "parts/weights.bin"]


def test_a_graph_may_be_reached_through_a_symbolic_link(tmp_path: Path) -> None:
    save_model(small_model(), tmp_path / "blob")
    (tmp_path / "m.onnx").symlink_to(tmp_path / "blob")

    assert read_model(tmp_path / "m.onnx").files[0].name == "m.onnx"


@pytest.mark.parametrize(
    "location",
    [
        "",
        ".",
        "..",
        "/etc/passwd",
        "../weights.bin",
        "parts/../../weights.bin",
        "parts/../weights.bin",
        "..\\weights.bin",
        "parts\\weights.bin",
        "C:weights.bin",
        "C:/weights.bin",
        "\\\\host\\share",
        "weights.bin\0.txt",
        "weights.bin\n",
        "*/_ORT_MEM_ADDR_/*",
    ],
)
def test_a_location_that_is_not_a_plain_relative_name_is_refused(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "weights.bin").write_bytes(WEIGHTS.tobytes())

    error = refusal_of(model_with_outside_weights(folder / "m.onnx", location=location))

    assert "not a plain name" in error.message
    assert "'w'" in error.message


def test_a_missing_external_file_is_named_with_its_tensor(tmp_path: Path) -> None:
    message = refusal_of(model_with_outside_weights(tmp_path / "m.onnx", location="absent.bin")).message

    assert "'absent.bin' (tensor 'w') is missing" in message


def _symbolic_link(place: Path, secret: Path) -> None:
    place.symlink_to(secret)


def _symbolic_link_within_the_folder(place: Path, secret: Path) -> None:
    shutil.copy(secret, place.with_name("real.bin"))
    place.symlink_to("real.bin")


def _dangling_link(place: Path, secret: Path) -> None:
    place.symlink_to(secret.with_name("absent"))


def _hard_link(place: Path, secret: Path) -> None:
    place.hardlink_to(secret)


def _fifo(place: Path, secret: Path) -> None:
    os.mkfifo(place)


def _folder(place: Path, secret: Path) -> None:
    place.mkdir()


def _socket(place: Path, secret: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(place))


@pytest.mark.parametrize(
    ("put", "said"),
    [
        (_symbolic_link, "symbolic link"),
        (_symbolic_link_within_the_folder, "symbolic link"),
        (_dangling_link, "symbolic link"),
        (_hard_link, "2 hard links"),
        (_fifo, "not a regular file"),
        (_folder, "not a regular file"),
        (_socket, "not a regular file"),
    ],
)
def test_external_data_must_be_a_file_of_its_own(
    tmp_path: Path, put: Callable[[Path, Path], None], said: str
) -> None:
    (tmp_path / "secret").write_bytes(WEIGHTS.tobytes())
    (tmp_path / "model").mkdir()
    path = model_with_outside_weights(tmp_path / "model" / "m.onnx")
    (path.parent / "weights.bin").unlink()
    put(path.parent / "weights.bin", tmp_path / "secret")

    assert said in refusal_of(path).message


def test_external_data_behind_a_linked_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "weights.bin").write_bytes(WEIGHTS.tobytes())
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "parts").symlink_to(tmp_path / "elsewhere")

    path = model_with_outside_weights(tmp_path / "model" / "m.onnx", location="parts/weights.bin")

    assert "symbolic link" in refusal_of(path).message


def test_external_data_in_the_graph_file_itself_is_refused(tmp_path: Path) -> None:
    assert (
        "the graph's own file"
        in refusal_of(model_with_outside_weights(tmp_path / "m.onnx", location="m.onnx")).message
    )


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"offset": -1}, "'-1', not a number of bytes"),
        ({"offset": "0x0"}, "'0x0', not a number of bytes"),
        ({"offset": " 0"}, "' 0', not a number of bytes"),
        ({"offset": "\N{ARABIC-INDIC DIGIT ZERO}"}, "not a number of bytes"),
        ({"offset": ""}, "not a number of bytes"),
        ({"offset": 1}, "ends at byte 49 of external file 'weights.bin', which has 48"),
        ({"offset": 2**40}, "which has 48"),
        ({"offset": 2**64}, "not a number of bytes"),
        ({"length": -1}, "'-1', not a number of bytes"),
        ({"length": "48.0"}, "'48.0', not a number of bytes"),
        ({"length": 2**40}, "has 1099511627776 bytes, and its type and dimensions ask for 48"),
        ({"length": 47}, "has 47 bytes"),
        ({"length": 0}, "has 0 bytes"),
    ],
)
def test_external_data_must_lie_within_its_file_and_fit_its_tensor(
    tmp_path: Path, entries: dict[str, object], said: str
) -> None:
    assert said in refusal_of(model_with_outside_weights(tmp_path / "m.onnx", **entries)).message


def test_external_data_without_a_length_must_reach_to_the_end_of_its_file(tmp_path: Path) -> None:
    path = model_with_outside_weights(tmp_path / "m.onnx")
    read_model(path)
    with (tmp_path / "weights.bin").open("ab") as stream:
        stream.write(b"\0")

    assert "no length" in refusal_of(path).message


def test_an_external_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = model_with_outside_weights(tmp_path / "m.onnx", offset=0, length=48)
    os.truncate(tmp_path / "weights.bin", 47)

    assert "which has 47" in refusal_of(path).message


def test_an_entry_given_twice_is_refused_since_readers_differ_in_which_they_believe(tmp_path: Path) -> None:
    path = model_with_outside_weights(tmp_path / "m.onnx")
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")

    assert "twice" in refusal_of(save_model(model, path)).message


def test_tensors_that_overlap_can_not_have_a_file_read_over_and_over(tmp_path: Path) -> None:
    model = small_model()
    for index in range(20):
        tensor = model.graph.initializer.add(name=f"w{index}", data_type=FLOAT, dims=[3, 4])
        move_outside(tensor, location="weights.bin", offset=index, length=48)
    (tmp_path / "weights.bin").write_bytes(bytes(100))

    assert "overlap" in refusal_of(save_model(model, tmp_path / "m.onnx")).message


def test_tensors_may_share_one_place(tmp_path: Path) -> None:
    path = model_with_outside_weights(tmp_path / "m.onnx")
    model = onnx.load(path, load_external_data=False)
    tied = model.graph.initializer.add()
    tied.CopyFrom(model.graph.initializer[0])
    tied.name = "tied"

    assert read_model(save_model(model, path)).parameters == 24


def test_strings_can_not_be_kept_outside(tmp_path: Path) -> None:
    path = model_with_outside_weights(tmp_path / "m.onnx")
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].data_type = TensorProto.STRING

    assert "strings" in refusal_of(save_model(model, path)).message


def test_external_data_is_found_wherever_a_model_can_hold_a_tensor(tmp_path: Path) -> None:
    for index in range(count_places()):
        model = deep_model()
        move_outside(tensors_of(model)[index], location="../secret")
        assert "'../secret'" in refusal_of(save_model(model, tmp_path / "m.onnx")).message


@pytest.mark.slow
def test_a_model_of_more_than_two_gigabytes_is_read_in_little_memory(tmp_path: Path) -> None:
    rows = 2_200_000_000 // 4 // 4
    model = small_model()
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = rows
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend([rows, 4])
    move_outside(model.graph.initializer[0], location="weights.bin", offset=0, length=rows * 16)
    # Sparse: it takes no room on the disk.
    with (tmp_path / "weights.bin").open("wb") as stream:
        stream.truncate(rows * 16)
    save_model(model, tmp_path / "m.onnx")

    tracemalloc.start()
    try:
        read = read_model(tmp_path / "m.onnx")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert read.parameters == rows * 4
    assert read.digest.size_bytes > 2_200_000_000
    assert peak_bytes < 64 << 20
