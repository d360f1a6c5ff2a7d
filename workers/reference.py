"""The reference of an attempt: found on this host, or computed in a child of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from farm.domain.jobs import FailureClass
from farm.domain.model_formats import PT2, why_no_reference
from farm.domain.option_rules import why_never_run
from farm.domain.targets import DeviceKind
from farm.domain.verification import FP64
from workers.child.reference_request import ReferenceRequest, reference_request_as_json
from workers.materials import (
    ReferenceCache,
    ReferenceKey,
    chunk_shapes,
    chunk_values,
    further_calls,
    place_inputs,
)
from workers.stored_references import NAME, fetch_reference, keep_reference
from workers.workplace import ChildFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from farm.domain.jobs import Failure
    from farm.domain.models import Model
    from farm.domain.work import Job
    from workers.child_process import ChildOutcome
    from workers.journal import Journal
    from workers.workplace import Workplace


def can_run_engine(place: Workplace, job: Job) -> bool:
    """Whether a worker's device runs what is built for a job."""
    if why_never_run(job.spec.builder_config):
        return False
    wanted = job.target.device_type
    if wanted.kind is DeviceKind.COMPUTE_CAPABILITY:
        own = place.device.device_type
        return own.kind is DeviceKind.GPU and own.compute_capability == wanted.compute_capability
    return True


class RunsWithoutDevice(Protocol):
    """Runs a request in a child: of the farm's interpreter, or of the job's toolchain."""

    def __call__(self, request: Mapping[str, Any], *, in_toolchain: bool = False) -> ChildOutcome:
        """How the child ended."""


class ReferenceStep:
    """Inputs and reference outputs for one job.

    Args:
        place: what the worker works with.
        job: that is to be verified.
        model: of the job.
        folder: scratch folder of the attempt.
        journal: of the attempt.
        prepare: says what is going on, and ends the attempt if it is to stop.
        run: runs a request in a child without the device.
    """

    def __init__(
        self,
        place: Workplace,
        job: Job,
        model: Model,
        folder: Path,
        journal: Journal,
        *,
        prepare: Callable[[str], None],
        run: RunsWithoutDevice,
    ) -> None:
        self._place = place
        self._farm = place.farm
        self._job = job
        self._model = model
        self._folder = folder
        self._journal = journal
        self._prepare = prepare
        self._run = run

    def obtain(self, model_path: Path) -> tuple[Path | None, str]:
        """The folder of inputs and reference outputs; or none, and why there is none.

        Raises:
            ChildFailedError: the given inputs do not fit, or the model runs nowhere.
        """
        if not can_run_engine(self._place, self._job):
            capability = self._job.target.device_type.compute_capability
            return (
                None,
                why_never_run(self._job.spec.builder_config)
                or f"built ahead of time: no GPU of compute capability {capability} on the building host",
            )
        verification = self._job.request.verification
        if verification.has_outputs:
            return self._place_golden(verification.inputs_sha256), ""
        if without := why_no_reference(self._model.format):
            return None, without
        # A program is run by the PyTorch that it is compiled with.
        in_toolchain = self._model.format == PT2
        computed_by = self._job.target.toolchain.slug if in_toolchain else self._place.reference_toolchain
        if not computed_by:
            return None, "no ONNX Runtime on the building host to compute a reference"
        in_doubles = verification.reference == FP64
        samples = self._samples_to_look_at(verification.inputs_sha256)
        key = ReferenceKey(
            self._model.digest.sha256,
            verification.inputs_sha256,
            verification.seed,
            chunk_shapes(self._model, self._job, samples),
            f"{computed_by} {FP64}" if in_doubles else computed_by,
            chunk_values(self._model, self._job, samples),
            () if verification.inputs_sha256 else further_calls(self._model, self._job),
            {} if verification.inputs_sha256 else verification.known_ranges,
        )
        cache = ReferenceCache(self._farm.settings.scratch / "references")
        found = cache.find(key)
        if found is not None:
            return found, ""
        folder = self._folder / "reference"
        folder.mkdir()
        is_there = fetch_reference(self._farm, key.sha256, folder, self._prepare)
        if verification.inputs_sha256:
            inputs = folder / "inputs.npz"
            self._journal.insist(
                lambda: place_inputs(
                    self._farm.database, self._farm.store, verification.inputs_sha256, inputs
                )
            )
        if is_there:
            return cache.keep(key, folder), ""
        self._prepare("computing the reference")
        request = ReferenceRequest(
            model_path,
            folder / "inputs.npz",
            not verification.inputs_sha256,
            key.shapes,
            verification.seed,
            folder / "outputs.npz",
            key.values,
            key.further,
            key.ranges,
            in_doubles,
        )
        outcome = self._run(reference_request_as_json(request), in_toolchain=in_toolchain)
        if failure := outcome.what_failed:
            return self._without_reference(failure)
        (folder / NAME).write_text(outcome.answer["reference"])
        keep_reference(
            self._farm,
            key.sha256,
            self._model.digest.sha256,
            folder,
            with_inputs=not verification.inputs_sha256,
        )
        return cache.keep(key, folder), ""

    def _samples_to_look_at(self, sha256: str) -> Path | None:
        """The samples that say which of several optimization profiles they run in; none if there is nothing to say."""
        if not sha256 or len(self._job.spec.profiles) <= 1:
            return None
        path = self._folder / "samples-of-user.npz"
        self._journal.insist(lambda: place_inputs(self._farm.database, self._farm.store, sha256, path))
        return path

    def _place_golden(self, sha256: str) -> Path:
        """A folder with the inputs, whose file has the outputs too."""
        folder = self._folder / "reference"
        folder.mkdir()
        self._prepare("fetching inputs and outputs")
        self._journal.insist(
            lambda: place_inputs(self._farm.database, self._farm.store, sha256, folder / "inputs.npz")
        )
        (folder / NAME).write_text(f"the outputs that were given with the inputs ({sha256[:12]})")
        return folder

    def _without_reference(self, failure: Failure) -> tuple[None, str]:
        """A wrong inputs file fails the job; a model that only ONNX Runtime can not run goes unverified."""
        is_for_cpu = self._job.target.device_type.kind is DeviceKind.CPU
        if (
            failure.code == "InvalidSpecError"
            or is_for_cpu
            or failure.failure_class is FailureClass.TRANSIENT
        ):
            raise ChildFailedError(failure)
        return None, f"the reference could not be computed: {failure.message}"
