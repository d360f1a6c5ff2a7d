"""What a model is compared with: by its format, and by what the user gave."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from farm.domain.digests import digest_of_file
from farm.domain.model_formats import NETWORK, ONNX, PT2
from farm.domain.verification import VerificationSpec
from tests.factories import a_build_spec, a_device, a_job_request, a_model
from tests.fakes import InMemoryArtifactStore, InMemoryDatabase
from workers.child_process import ChildOutcome
from workers.reference import ReferenceStep

if TYPE_CHECKING:
    from pathlib import Path


class Reference:
    """A reference step of one job, whose child is this object."""

    def __init__(self, folder: Path, model_format: str, *, onnxruntime: str = "onnxruntime 1.23.2") -> None:
        self.folder = folder
        self.calls: list[tuple[str, bool]] = []
        self.farm: Any = SimpleNamespace(
            database=InMemoryDatabase(),
            store=InMemoryArtifactStore(),
            settings=SimpleNamespace(scratch=folder / "scratch"),
        )
        self.place: Any = SimpleNamespace(farm=self.farm, device=a_device(), reference_toolchain=onnxruntime)
        self.model = a_model(format=model_format)
        self.journal: Any = SimpleNamespace(insist=lambda action: action())

    def run(self, request: Any, *, in_toolchain: bool = False) -> Any:
        self.calls.append((request["model_path"], in_toolchain))
        return ChildOutcome({"failure": None, "reference": "somebody 1.0"})

    def obtain(self, verification: VerificationSpec | None = None) -> tuple[Path | None, str]:
        spec = a_build_spec()
        request = a_job_request(verification=verification or VerificationSpec())
        job: Any = SimpleNamespace(spec=spec, target=spec.target, request=request)
        step = ReferenceStep(
            self.place,
            job,
            self.model,
            self.folder,
            self.journal,
            prepare=lambda message: None,
            run=self.run,
        )
        return step.obtain(self.folder / "model")


@pytest.mark.parametrize(("model_format", "in_toolchain"), [(ONNX, False), (PT2, True)])
def test_onnx_is_run_by_the_farms_interpreter_and_a_program_by_its_toolchains(
    tmp_path: Path, model_format: str, in_toolchain: bool
) -> None:
    reference = Reference(tmp_path, model_format)
    folder, unverified = reference.obtain()
    assert not unverified
    assert folder is not None
    assert (folder / "name.txt").read_text() == "somebody 1.0"
    assert reference.calls == [(str(tmp_path / "model"), in_toolchain)]


def test_a_program_needs_no_onnx_runtime(tmp_path: Path) -> None:
    assert Reference(tmp_path, ONNX, onnxruntime="").obtain()[0] is None
    (tmp_path / "again").mkdir()
    assert Reference(tmp_path / "again", PT2, onnxruntime="").obtain()[0] is not None


def test_nothing_runs_a_network_on_the_cpu(tmp_path: Path) -> None:
    reference = Reference(tmp_path, NETWORK)
    folder, unverified = reference.obtain()
    assert folder is None
    assert "give --inputs with arrays outputs/NAME" in unverified
    assert not reference.calls


@pytest.mark.parametrize("model_format", [ONNX, NETWORK, PT2])
def test_given_outputs_take_the_place_of_a_reference(tmp_path: Path, model_format: str) -> None:
    reference = Reference(tmp_path, model_format, onnxruntime="")
    given = tmp_path / "given.npz"
    np.savez(given, **{"input": np.zeros((2, 3, 8, 8)), "outputs/output": np.zeros((2, 10))})
    digest = reference.farm.store.put_file(given)
    with reference.farm.database.transaction() as transaction:
        transaction.engines.add_artifact(digest, "inputs")
    folder, unverified = reference.obtain(VerificationSpec(digest.sha256, has_outputs=True))
    assert not unverified
    assert folder is not None
    assert digest_of_file(folder / "inputs.npz") == digest
    assert digest.short in (folder / "name.txt").read_text()
    assert not reference.calls
