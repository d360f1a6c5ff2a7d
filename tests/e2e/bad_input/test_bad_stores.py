"""A store that is missing, forbidden or full: one clear line, and nothing lost."""

from __future__ import annotations

import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.e2e import models
from tests.e2e.bad_input.good_model import GOOD
from tests.small_disk import small_disk

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.driver import FarmCommand


def test_a_missing_store(farm: FarmCommand) -> None:
    path = models.save(GOOD, farm.folder / "model.onnx")
    shutil.rmtree(farm.home / "artifacts")
    said = farm.refused("submit", path, "--gpu", "cpu", code=6)
    assert f"{farm.home / 'artifacts'} is missing" in said
    assert "Is it mounted?" in said
    assert not farm.has_anything()


def test_a_store_that_can_not_be_written(farm: FarmCommand) -> None:
    path = models.save(GOOD, farm.folder / "model.onnx")
    store = farm.home / "artifacts"
    shutil.rmtree(store)
    store.write_text("a file where a folder should be")
    assert "artifacts" in farm.refused("submit", path, "--gpu", "cpu", code=6)
    assert not farm.has_anything()


def test_a_full_disk(farm: FarmCommand) -> None:
    path = models.save(models.slow(layers=1), farm.folder / "model.onnx")  # 1 MiB of weights
    with small_disk(farm.folder / "disk", "900k") as disk:
        store = disk / "artifacts"
        (store / "incoming").mkdir(parents=True)
        said = farm.refused("submit", path, "--gpu", "cpu", "--batch", "1", code=6, FARM_STORE=str(store))
        assert f"no space left at {store}" in said
        assert "Free some space" in said
        assert not farm.has_anything()
        assert list((store / "incoming").iterdir()) == [], "no half of a file is left"


def test_a_disk_without_room_for_a_database(new_farm: FarmCommand) -> None:
    path = models.save(GOOD, new_farm.folder / "model.onnx")
    with small_disk(new_farm.home, "64k"):
        said = new_farm.refused("submit", path, "--gpu", "cpu", code=6)
        assert "full" in said or "no space left" in said


def test_a_full_disk_at_fetch_leaves_no_file(filled_home: FarmCommand, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))
        said = filled_home.refused("fetch", "dense", "-o", disk / "dense.engine", code=6)
        assert "no space left" in said
        assert [path.name for path in disk.iterdir()] == ["filler"]
