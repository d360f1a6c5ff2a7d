"""An engine that was filed unverified is verified once somebody says what it is to compute."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from farm.domain.filing import Engine, Run
from farm.domain.targets import DeviceKind
from farm.domain.verification import VerificationSpec
from farm.services.filed_answers import needs_measuring
from tests.factories import (
    a_build_spec,
    a_device_type,
    a_digest,
    a_job_request,
    a_measurement,
    a_target,
    an_accuracy,
)

if TYPE_CHECKING:
    from farm.domain.work import JobRequest

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GIVEN = VerificationSpec(a_digest("samples").sha256, has_outputs=True)


def a_run(**changes: Any) -> Run:
    measured = (a_measurement(1), a_measurement(8))
    run = Run(1, 1, "GPU-0", "580", "host-a", NOW, accuracy=None, measurements=measured, samples=None)
    return replace(run, **changes)


def unverified(*runs: Run, kind: DeviceKind = DeviceKind.GPU) -> Engine:
    spec = a_build_spec(target=a_target(device_type=a_device_type(kind)))
    reason = "a network defined with TensorRT's API has no reference on the CPU"
    return Engine(1, spec, a_digest("plan"), 1.0, "fp16", 0, 0, reason, "j-1", NOW, runs)


def asked(verification: VerificationSpec | None = None, batches: tuple[int, ...] = (1, 8)) -> JobRequest:
    return a_job_request(batches=batches, verification=verification or VerificationSpec())


def test_without_outputs_it_stays_as_it_is() -> None:
    assert not needs_measuring(unverified(a_run()), asked())


def test_other_batches_of_what_runs_here_are_measured() -> None:
    assert needs_measuring(unverified(a_run()), asked(batches=(32,)))


def test_with_outputs_it_is_verified_and_then_no_more() -> None:
    assert needs_measuring(unverified(a_run()), asked(GIVEN))
    done = unverified(a_run(), a_run(id=2, accuracy=an_accuracy(), inputs_sha256=GIVEN.inputs_sha256))
    assert done.is_verified
    assert not needs_measuring(done, asked(GIVEN))
    other = replace(GIVEN, inputs_sha256=a_digest("other samples").sha256)
    assert needs_measuring(done, asked(other))


def test_what_runs_on_no_device_of_the_farm_is_not_tried_again_and_again() -> None:
    ahead_of_time = unverified(kind=DeviceKind.COMPUTE_CAPABILITY)
    assert not needs_measuring(ahead_of_time, asked(GIVEN))
    assert not needs_measuring(ahead_of_time, asked())


def test_a_run_of_other_bytes_verifies_nothing() -> None:
    other = a_run(accuracy=an_accuracy(), engine_sha256=a_digest("an earlier plan").sha256)
    assert not unverified(other).is_verified
