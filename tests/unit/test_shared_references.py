"""References that hosts share: computed by one, fetched by the others; what goes wrong with it fails no attempt."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from farm.domain.errors import CorruptArtifactError, StoreUnavailableError
from farm.domain.input_ranges import InputRange
from farm.domain.verification import VerificationSpec
from tests.behaviours.given import given_a_model
from tests.factories import a_build_spec, a_device, a_job_request, a_model
from tests.fakes import InMemoryArtifactStore, InMemoryDatabase
from workers import stored_references
from workers.arrays import read_arrays, write_arrays
from workers.child.reference_request import reference_request_from_json
from workers.child_process import ChildOutcome
from workers.reference import ReferenceStep
from workers.stored_references import unpack

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass
class Fleet:
    """Hosts that share a database and a store."""

    database: Any = field(default_factory=InMemoryDatabase)
    store: Any = field(default_factory=InMemoryArtifactStore)
    computed_by: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        given_a_model(self.database, a_model(), "m")

    def obtain(self, host: Path, verification: VerificationSpec | None = None, salt: str = "") -> Path:
        """The reference of a job, by a host."""
        number = len(list(host.iterdir())) if host.exists() else 0
        folder = host / f"attempt-{number}"
        folder.mkdir(parents=True)
        farm = SimpleNamespace(
            database=self.database, store=self.store, settings=SimpleNamespace(scratch=host / "scratch")
        )
        place: Any = SimpleNamespace(farm=farm, device=a_device(), reference_toolchain="onnxruntime 1.23.2")

        def run(document: Mapping[str, Any], *, in_toolchain: bool = False) -> ChildOutcome:
            assert not in_toolchain
            request = reference_request_from_json(document)
            self.computed_by.append(host.name)
            if request.make_inputs:
                write_arrays(request.inputs_path, {"input": np.full((1, 3, 8, 8), request.seed)})
            write_arrays(request.outputs_path, {"output": np.full((1, 10), len(self.computed_by))})
            precision = "fp64" if request.in_doubles else "fp32"
            return ChildOutcome({"failure": None, "reference": f"onnxruntime 1.23.2 {precision}"})

        spec = a_build_spec(salt=salt)
        job: Any = SimpleNamespace(
            spec=spec,
            target=spec.target,
            request=a_job_request(verification=verification or VerificationSpec()),
        )
        step = ReferenceStep(
            place,
            job,
            a_model(),
            folder,
            SimpleNamespace(insist=lambda action: action()),  # type: ignore[arg-type]
            prepare=lambda _message: None,
            run=run,
        )
        found, unverified = step.obtain(folder / "model")
        assert not unverified
        assert found is not None
        return found


def test_what_one_host_computed_the_others_fetch(tmp_path: Path) -> None:
    fleet = Fleet()
    first, second = fleet.obtain(tmp_path / "one"), fleet.obtain(tmp_path / "two", salt="another cell")
    assert fleet.computed_by == ["one"]
    assert first != second
    for name in ("inputs.npz", "outputs.npz"):
        mine, theirs = read_arrays(first / name), read_arrays(second / name)
        np.testing.assert_equal(mine, theirs)
    assert (second / "name.txt").read_text() == "onnxruntime 1.23.2 fp32"


@pytest.mark.parametrize(
    "verification",
    [
        VerificationSpec(seed=1),
        VerificationSpec(reference="fp64"),
        VerificationSpec(input_ranges={"input": InputRange(0, 0.5)}),
    ],
)
def test_what_is_computed_otherwise_is_another_reference(
    tmp_path: Path, verification: VerificationSpec
) -> None:
    fleet = Fleet()
    fleet.obtain(tmp_path / "one")
    fleet.obtain(tmp_path / "one", verification)
    fleet.obtain(tmp_path / "two", verification)
    assert fleet.computed_by == ["one", "one"]


def test_given_inputs_are_not_stored_a_second_time(tmp_path: Path) -> None:
    fleet = Fleet()
    write_arrays(tmp_path / "inputs.npz", {"input": np.zeros((1, 3, 8, 8), np.float32)})
    digest = fleet.store.put_file(tmp_path / "inputs.npz")
    with fleet.database.transaction() as transaction:
        transaction.engines.add_artifact(digest, "inputs")
    wanted = VerificationSpec(digest.sha256)
    fleet.obtain(tmp_path / "one", wanted)
    found = fleet.obtain(tmp_path / "two", wanted)
    assert fleet.computed_by == ["one"]
    assert {path.name for path in found.iterdir()} == {"inputs.npz", "outputs.npz", "name.txt"}
    stored = {item.digest for item in fleet.store.listing()} - {digest}
    (archive,) = stored
    fleet.store.fetch(archive, tmp_path / "archive.zip")
    assert zipfile.ZipFile(tmp_path / "archive.zip").namelist() == ["outputs.npz"]


def test_one_that_can_not_be_had_is_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet()
    fleet.obtain(tmp_path / "one")

    def away(*_args: Any) -> None:
        raise StoreUnavailableError("the store is away")

    with monkeypatch.context() as patch:
        patch.setattr(fleet.store, "fetch", away)
        patch.setattr(fleet.store, "put_file", away)
        fleet.obtain(tmp_path / "two")
    assert fleet.computed_by == ["one", "two"]


def test_a_large_one_stays_on_its_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_references, "LARGEST_BYTES", 100)
    fleet = Fleet()
    fleet.obtain(tmp_path / "one")
    fleet.obtain(tmp_path / "two")
    assert fleet.computed_by == ["one", "two"]
    assert not list(fleet.store.listing())


@pytest.mark.parametrize("name", ["../inputs.npz", "name.txt", "inputs.npz.exe", "/outputs.npz"])
def test_an_archive_with_anything_else_in_it_is_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "odd.zip", "w") as archive:
        archive.writestr(name, b"")
    (tmp_path / "place").mkdir()
    with pytest.raises(CorruptArtifactError, match="none of its files"):
        unpack(tmp_path / "odd.zip", tmp_path / "place")
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(CorruptArtifactError, match="no archive"):
        unpack(tmp_path / "text.zip", tmp_path / "place")
    assert not list((tmp_path / "place").iterdir())
