"""Folders, lists and arrays become one file whose bytes follow from the samples alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from farm.domain.digests import digest_of_file
from farm.domain.errors import InvalidSpecError
from farm.domain.models import Model, Tensor
from tests.factories import a_model
from tests.unit.samples.pictures import gray_input, rgb_input, saved
from workers.arrays import check_inputs, read_arrays
from workers.samples import prepare
from workers.samples.prepare import PreparedSamples, SampleWish, prepare_samples

if TYPE_CHECKING:
    from pathlib import Path

VOLUMES = Tensor("volume", "float32", (-1, 1, 4, 5, 6))


def model_of(*inputs: Tensor) -> Model:
    return a_model(inputs=inputs)


def made(path: Path, *inputs: Tensor, **wish: Any) -> PreparedSamples:
    """What becomes of a path; the file lies beside it."""
    target = path.parent / f"{path.name}.made.npz"
    found = prepare_samples(
        SampleWish(path, **wish), model_of(*(inputs or (gray_input(),))), target, lambda _done, _total: None
    )
    check_inputs(read_arrays(target), inputs or (gray_input(),))
    return found


def arrays_of(path: Path, *inputs: Tensor, **wish: Any) -> dict[str, Any]:
    return read_arrays(made(path, *inputs, **wish).path)


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
EXPECTED = "?"


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


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    folder = shades(tmp_path / "photos", "a.png", "b.png", "c.png")
    wish = SampleWish(folder, most=2)
    prepare_samples(wish, model_of(gray_input()), tmp_path / "x.npz", lambda *far: told.append(far))
    assert told == [(0, 2), (1, 2)]


# Arrays.


def test_volumes_come_from_a_file_each(tmp_path: Path) -> None:
    folder = tmp_path / "volumes"
    folder.mkdir()
    for number in range(3):
        whole = np.full((1, 1, 4, 5, 6), number, np.float32)
        np.save(folder / f"{number}.npy", whole if number else whole[0])
    assert arrays_of(folder, VOLUMES)["volume"][:, 0, 0, 0, 0].tolist() == [0, 1, 2]


def test_models_with_several_inputs_take_a_file_of_all_for_each_sample(tmp_path: Path) -> None:
    folder, inputs = tmp_path / "texts", (Tensor("ids", "int64", (-1, 3)), Tensor("mask", "bool", (-1, 3)))
    folder.mkdir()
    for number in range(2):
        np.savez(folder / f"{number}.npz", ids=np.full(3, number), mask=np.ones((1, 3), bool))
    found = arrays_of(folder, *inputs)
    assert found["ids"].tolist() == [[0, 0, 0], [1, 1, 1]]
    assert found["mask"].dtype == bool
    assert found["mask"].all()


def test_an_array_alone_holds_the_samples_of_the_one_input(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(5, 1, 4, 5, 6)).astype(np.float32)
    np.save(tmp_path / "rows.npy", np.asfortranarray(rows))
    np.testing.assert_array_equal(arrays_of(tmp_path / "rows.npy", VOLUMES)["volume"], rows)
    assert made(tmp_path / "rows.npy", VOLUMES, most=3).count == 3
    with pytest.raises(InvalidSpecError, match="several inputs"):
        made(tmp_path / "rows.npy", VOLUMES, gray_input())
    with pytest.raises(InvalidSpecError, match="does not fit input"):
        made(tmp_path / "rows.npy", gray_input())


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (np.zeros((1, 4, 5, 6)), "float64"),
        (np.zeros((2, 1, 4, 5, 6), np.float32), "2x1x4x5x6"),
        (np.zeros((1, 4, 5), np.float32), "1x4x5"),
        (np.array([None], object), "allow_pickle"),
    ],
)
def test_arrays_that_fit_no_input_are_named_with_what_they_are(tmp_path: Path, array: Any, why: str) -> None:
    folder = tmp_path / "volumes"
    folder.mkdir()
    np.save(folder / "bad.npy", array)
    np.save(folder / "good.npy", np.zeros((1, 4, 5, 6), np.float32))
    with pytest.raises(InvalidSpecError, match=rf"1 of the samples .*: bad.npy \(.*{why}"):
        made(folder, VOLUMES)


def test_files_with_other_arrays_than_the_inputs_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "volumes"
    folder.mkdir()
    good = np.zeros((1, 4, 5, 6), np.float32)
    np.savez(folder / "less.npz", other=good)
    np.savez(folder / "more.npz", volume=good, other=good)
    (folder / "torn.npz").write_bytes((folder / "more.npz").read_bytes()[:200])
    with pytest.raises(
        InvalidSpecError, match=r"less.npz \(it has no array for input .*more.npz \(its array 'other'"
    ):
        made(folder, VOLUMES)


def test_samples_of_an_open_size_must_be_of_one(tmp_path: Path) -> None:
    folder = tmp_path / "volumes"
    folder.mkdir()
    for number, depth in enumerate((4, 4, 5)):
        np.save(folder / f"{number}.npy", np.zeros((1, depth), np.float32))
    with pytest.raises(InvalidSpecError, match=r"2.npy \(its array 'x' is 1x5, and the first one's is 1x4"):
        made(folder, Tensor("x", "float32", (-1, 1, -1)))
