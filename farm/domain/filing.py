"""What is filed of a finished build: the engine and the runs that measured it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from farm.domain.accuracy import Accuracy
    from farm.domain.benchmarks import Measurement
    from farm.domain.digests import Digest
    from farm.domain.manifests import SignedManifest
    from farm.domain.methods import Method
    from farm.domain.specs import BuildSpec


@dataclass(frozen=True)
class Run:
    """One measurement session of one engine on one device.

    Attributes:
        profile: the times of the engine's layers; none where nobody asked for them.
        nsys_sha256: of the report of Nsight Systems; empty where it did not look on.
    """

    id: int
    engine_id: int
    device_uuid: str
    driver_version: str
    host: str
    started_at: datetime
    accuracy: Accuracy | None
    measurements: tuple[Measurement, ...]
    samples: Digest | None
    inputs_sha256: str = ""
    taints: tuple[str, ...] = ()
    profile: Digest | None = None
    nsys_sha256: str = ""
    #: Of the engine's bytes that it measured; empty where an earlier release filed it.
    engine_sha256: str = ""
    #: From the engine's file to its first answer: seconds and bytes of memory, step by step.
    startup: Mapping[str, Any] = field(default_factory=dict)
    #: With another engine, block by block; empty where nobody asked.
    comparison: Mapping[str, Any] = field(default_factory=dict)
    #: Why its device was not trusted; empty if it was.
    suspect: str = ""
    #: How the errors of its outputs are spread.
    histogram: Digest | None = None
    #: Of the attempt that made it.
    attempt_id: int = 0
    #: What its outputs were compared with that the user asked for, beside inputs and thresholds.
    verified_with: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is known that speaks against all of its figures; single ones may still be tainted."""
        return not self.taints and not self.suspect

    @property
    def looked_inside(self) -> bool:
        """Whether it was made to see where the time goes, by layer or by kernel; its figures are by the way."""
        return self.profile is not None or bool(self.nsys_sha256)


@dataclass(frozen=True)
class Engine:
    """The serialized plan, filed under its key.

    Attributes:
        spec: every component of the key.
        digest: of the plan's bytes.
        build_s: seconds that the build took.
        precision_note: how the precision was honoured.
        unverified_reason: why its build did not verify it; empty for one that it did.
        runs: newest last.
        signed: the manifest that its worker signed; none if a release before 0.2 filed it.
        is_key_revoked: whether the key that signed it does not count any more.
        pinned_at: since when garbage collection must keep it; none if it need not.
        pin_reason: why.
        retired_at: since when its bytes are given up; its measurements stay.
        details: what the build left to be known, as JSON.
        layer_information: what it told of its layers after the build; none if it told nothing.
    """

    id: int
    spec: BuildSpec
    digest: Digest
    build_s: float
    precision_note: str
    device_memory_bytes: int
    layers: int
    unverified_reason: str
    job_id: str
    created_at: datetime
    runs: tuple[Run, ...] = ()
    signed: SignedManifest | None = None
    is_key_revoked: bool = False
    pinned_at: datetime | None = None
    pin_reason: str = ""
    retired_at: datetime | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    layer_information: Digest | None = None

    @property
    def is_signed(self) -> bool:
        """Whether it has a signature whose key was not revoked: one that may be handed out, if it holds."""
        return self.signed is not None and not self.is_key_revoked

    @property
    def is_verified(self) -> bool:
        """Whether its outputs were compared with the reference: after the build, or by a run since."""
        return not self.unverified_reason or any(run.accuracy is not None for run in self.own_runs)

    @property
    def was_run(self) -> bool:
        """Whether anything has run its very bytes, verified or not."""
        return self.is_verified or bool(self.own_runs)

    @property
    def latest_run(self) -> Run | None:
        """The newest run that nothing disturbed; one that looked inside, or the newest of all, where no other is."""
        found = self._clean_runs or self.own_runs
        return found[-1] if found else None

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """What it is known by: for every shape the figures of the newest run that nothing disturbed.

        Those of a run that looked inside count where no other has measured the shape. Smallest batch first.
        """
        latest = self.latest_run
        runs = self._clean_runs or ([latest] if latest else [])
        found: dict[tuple[int, str], tuple[Measurement, ...]] = {}
        # Where every figure of a shape is tainted the newest of them are told all the same, with their taints.
        for is_tainted in (False, True):
            for run in reversed(runs):
                of_run: dict[tuple[int, str], tuple[Measurement, ...]] = {}
                for measurement in run.measurements:
                    if bool(measurement.taints) is is_tainted:
                        shape = (measurement.batch, str(sorted(measurement.shapes.items())))
                        of_run[shape] = (*of_run.get(shape, ()), measurement)
                found = {**of_run, **found}
        return tuple(m for _, some in sorted(found.items(), key=lambda pair: pair[0][0]) for m in some)

    @property
    def _clean_runs(self) -> list[Run]:
        """Its runs that nothing disturbed and that measured something: those that looked inside, then the others."""
        clean = [run for run in self.own_runs if run.is_clean and run.measurements]
        return sorted(clean, key=lambda run: not run.looked_inside)

    @property
    def own_runs(self) -> list[Run]:
        """The runs of these very bytes; others are of engines that were filed under the key before a rebuild."""
        return [run for run in self.runs if run.engine_sha256 in ("", self.digest.sha256)]

    @property
    def builds(self) -> list[Mapping[str, Any]]:
        """The builds that it was chosen from, each with its figures; empty if there was one alone."""
        return list(self.details.get("builds", ()))

    def measured_ways(self) -> frozenset[tuple[int, Method]]:
        """The batch sizes that some run has measured, each with every method."""
        return frozenset(
            (m.batch, m.method) for run in self.own_runs if not run.taints for m in run.measurements
        )

    def measured_batches(self) -> frozenset[int]:
        """The batch sizes that some run has measured."""
        return frozenset(m.batch for run in self.own_runs if not run.taints for m in run.measurements)


@dataclass(frozen=True)
class SigningKey:
    """A public key whose signatures on engines count, until it is revoked.

    Attributes:
        id: sha256 of its bytes.
        public_key: `ed25519:…`.
        note: whose it is.
    """

    id: str
    public_key: str
    note: str
    created_at: datetime
    revoked_at: datetime | None = None


@dataclass(frozen=True)
class HistoryEntry:
    """One measurement in time, with all that it can be traced to."""

    model_name: str
    model_version: int
    engine: Engine
    run: Run
    measurement: Measurement
