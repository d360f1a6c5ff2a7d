"""Folders and lists of images become one file whose bytes follow from the samples alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farm.domain.digests import digest_of_file
from farm.domain.errors import InvalidRequestError, InvalidSpecError
from tests.unit.samples.pictures import arrays_of, gray_input, made, model_of, rgb_input, saved
from workers.arrays import read_arrays
from workers.samples import prepare
from workers.samples.prepare import SampleWish, prepare_samples


def shades(folder: Path, *names: str) -> Path:
    """Images of one shade each: the first black, the next one lighter by 10."""
    for number, name in enumerate(names):
        saved(folder / name, np.full((4, 6), 10 * number, np.uint8))
    return folder


def shades_in(found: dict[str, Any]) -> list[int]:
    return [round(float(sample.mean()) * 255) for sample in found["image"]]


# Order and bytes.


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    folder = shades(tmp_path / "photos", "b.png", "a.png", "sub/c.png", "a/z.png")
    assert shades_in(arrays_of(folder)) == [10, 30, 0, 20]


def test_a_list_keeps_its_order(tmp_path: Path) -> None:
    shades(tmp_path / "photos", "a.png", "b.png", "c.png")
    listed = tmp_path / "list.txt"
    listed.write_text(
        "# the best first\nphotos/c.png\n\nphotos/a.png\r\n" + f"{tmp_path / 'photos' / 'b.png'}\n"
    )
    assert shades_in(arrays_of(listed)) == [20, 0, 10]


def test_the_same_images_make_the_same_bytes_wherever_and_whenever_they_were_written(tmp_path: Path) -> None:
    first = shades(tmp_path / "one", "a.png", "b.png", "c.png")
    second = tmp_path / "two"
    for number in (2, 0, 1):
        path = saved(second / f"{'abc'[number]}.png", np.full((4, 6), 10 * number, np.uint8))
        os.utime(path, (number, number))
    assert digest_of_file(made(first).path) == digest_of_file(made(second).path)
    assert digest_of_file(made(first, images={"mean": 0.1}).path) != digest_of_file(made(second).path)


def test_the_bytes_change_with_no_release(tmp_path: Path) -> None:
    """The digest is in the engine's key: another one would build every calibrated engine anew."""
    found = made(shades(tmp_path / "photos", "a.png", "b.png"))
    assert digest_of_file(found.path).sha256 == EXPECTED


#: Of two images of 4x6 pixels, black and 10/255.
EXPECTED = "ff52967bf9876f0ea022e3d44b03842484a171d09aa2f740a74c3138e1c4aa78"


# Labels.


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.csv", "name,class\nb.png,7\na.png,3\nc.png,1\nother.png,2\n"),
        ("labels.csv", '"a.png","3"\n"b.png","7"\nc.png,1'),
        ("labels.txt", "a.png 3\nb.png 7\nc.png 1\n"),
        ("labels.txt", "# as by the tool\na.png\t3\nb.png\t7\nc.png\t1\n"),
    ],
)
def test_classes_in_the_folder_are_found(tmp_path: Path, name: str, text: str) -> None:
    folder = shades(tmp_path / "photos", "a.png", "b.png", "c.png")
    (folder / name).write_text(text)
    found = made(folder, with_labels=True)
    assert found.has_labels
    assert read_arrays(found.path)["labels"].tolist() == [3, 7, 1]
    assert found.other_files == 0
    assert "labels" not in arrays_of(folder), "calibration has no use for them"


def test_classes_follow_the_images_that_are_left(tmp_path: Path) -> None:
    folder = shades(tmp_path / "photos", "a.png", "b.png", "c.png")
    (folder / "a.png").write_bytes(b"")
    labels = tmp_path / "classes.txt"
    labels.write_text("c.png,1\nb.png,7\n")
    found = arrays_of(folder, with_labels=True, labels_path=labels, skip_broken=True)
    assert found["labels"].tolist() == [7, 1]


def test_images_without_a_class_are_named(tmp_path: Path) -> None:
    folder = shades(tmp_path / "photos", "a.png", "b.png", "c.png")
    (folder / "labels.txt").write_text("b.png,7\n")
    with pytest.raises(InvalidSpecError, match=r"no class for 2 file\(s\): a.png, c.png"):
        made(folder, with_labels=True)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a.png,cat3\n", "line 1: not a name"),
        ("a.png,1\nb.png\n", "line 2"),
        ("a.png,1\na.png,2", "two classes"),
    ],
)
def test_classes_that_make_no_sense_are_refused(tmp_path: Path, text: str, why: str) -> None:
    folder = shades(tmp_path / "photos", "a.png")
    (folder / "labels.txt").write_text(text)
    with pytest.raises(InvalidSpecError, match=why):
        made(folder, with_labels=True)


# What can not be read.


def test_all_broken_images_are_named_at_once(tmp_path: Path) -> None:
    folder = shades(tmp_path / "photos", "a.png", "b.png", "c.png")
    (folder / "a.png").write_bytes(b"")
    (folder / "c.png").write_bytes((folder / "c.png").read_bytes()[:50])
    with pytest.raises(InvalidSpecError, match=r"2 of the samples .*: a.png \(.*\), c.png \(.*\)") as raised:
        made(folder)
    assert "--skip-broken-images" in raised.value.hint
    left = made(folder, skip_broken=True)
    assert (left.count, [line.split()[0] for line in left.skipped]) == (1, ["a.png", "c.png"])


def test_with_all_broken_nothing_is_left_to_take(tmp_path: Path) -> None:
    folder = shades(tmp_path / "photos", "a.png")
    (folder / "a.png").write_bytes(b"")
    with pytest.raises(InvalidSpecError, match="none of the samples"):
        made(folder, skip_broken=True)


def test_files_of_a_list_that_are_not_there_are_named(tmp_path: Path) -> None:
    shades(tmp_path, "a.png")
    (tmp_path / "list.txt").write_text("a.png\nb.png\nc.png\n")
    with pytest.raises(InvalidSpecError, match=r"2 file\(s\) that are not there: b.png, c.png"):
        made(tmp_path / "list.txt")


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ([], "there are no samples in"),
        (["a.md"], "there are no samples in"),
        (["a.png", "b.npy"], "mixes images"),
    ],
)
def test_folders_that_hold_no_samples_of_one_kind_are_refused(
    tmp_path: Path, names: list[str], why: str
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    with pytest.raises(InvalidSpecError, match=why):
        made(folder)


def test_hidden_and_other_files_of_a_folder_are_left_out(tmp_path: Path) -> None:
    folder = shades(tmp_path / "photos", "a.png", ".hidden.png", ".cache/b.png")
    (folder / "README.md").touch()
    found = made(folder)
    assert (found.count, found.other_files) == (1, 1)


@pytest.mark.parametrize(("name", "why"), [("gone", "no file or folder"), ("a.md", "holds no samples")])
def test_what_is_nothing_known_is_refused(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "a.md").touch()
    with pytest.raises(InvalidSpecError, match=why):
        made(tmp_path / name)


# How many.


def test_a_limit_takes_the_first_that_can_be_read(tmp_path: Path) -> None:
    folder = shades(tmp_path / "photos", "a.png", "b.png", "c.png", "d.png")
    (folder / "b.png").write_bytes(b"")
    assert shades_in(arrays_of(folder, most=2, skip_broken=True)) == [0, 20]


def test_more_than_a_build_can_hold_are_refused_with_what_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shades(tmp_path / "photos", "a.png", "b.png", "c.png")
    monkeypatch.setattr(prepare, "MAX_SAMPLES_BYTES", 2 * 4 * 6 * 4)
    with pytest.raises(InvalidSpecError, match="3 samples are") as raised:
        made(folder)
    assert "--calibration-samples 2 takes" in raised.value.hint
    assert made(folder, most=2).count == 2


def test_a_fixed_batch_is_filled_and_the_rest_left_out(tmp_path: Path) -> None:
    folder = shades(tmp_path / "photos", *(f"{name}.png" for name in "abcde"))
    (folder / "labels.txt").write_text("".join(f"{name}.png,1\n" for name in "abcde"))
    found = made(folder, rgb_input(batch=2), with_labels=True)
    assert (found.count, found.left_out) == (4, 1)
    assert {array.shape[0] for array in read_arrays(found.path).values()} == {4}
    with pytest.raises(InvalidSpecError, match="do not fill the batch"):
        made(folder, rgb_input(batch=8))


def test_a_disk_that_is_full_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="can not be written to") as raised:
        prepare_samples(
            SampleWish(shades(tmp_path / "photos", "a.png")),
            model_of(gray_input()),
            Path("/dev/full"),
            lambda _done, _total: None,
        )
    assert "TMPDIR" in raised.value.hint


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    folder = shades(tmp_path / "photos", "a.png", "b.png", "c.png")
    wish = SampleWish(folder, most=2)
    prepare_samples(wish, model_of(gray_input()), tmp_path / "x.npz", lambda *far: told.append(far))
    assert told == [(0, 2), (1, 2)]
