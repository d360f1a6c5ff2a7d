"""The engine of a canary: which one, whether it may be run, and how long it takes."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass, replace
from datetime import UTC
from typing import TYPE_CHECKING

from farm.bootstrap import check_signer, open_trusted_keys
from farm.domain.baselines import ONLY_BASELINES
from farm.domain.digests import digest_of_file
from farm.domain.errors import FarmError, TransientError, UnsupportedTargetError
from farm.domain.manifests import EngineManifest, SignedManifest
from farm.domain.shapes import ShapeRange
from farm.domain.specs import BuildSpec
from farm.domain.targets import DeviceKind, Target
from farm.samples import canary_model
from farm.services.trust import check_manifest
from workers.child.requests import AttemptRequest, attempt_request_as_json, result_from_json
from workers.child.timed_call import TimedCall
from workers.child_process import ChildProcess
from workers.condition_watch import ConditionWatch
from workers.confinement import Limits, own_file
from workers.toolchains.toolchain import BuildInput
from workers.workplace import ChildFailedError, StoppedError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from farm.domain.benchmarks import BenchmarkSpec, Measurement
    from farm.domain.digests import Digest
    from farm.domain.targets import ToolchainId
    from farm.domain.toolchains import ToolchainDescription
    from workers.child_process import ChildEvent
    from workers.device_lock import DeviceLock
    from workers.workplace import Workplace

_log = logging.getLogger(__name__)
#: Images at once: enough to fill a large GPU, and no more than a CPU computes in a tenth of a second.
BATCH_ON_GPU, BATCH_ON_CPU = 16, 1
_IMAGE = (64, 56, 56)
#: Building it takes half a minute where it takes long.
DEADLINE_S = 900
_OTHER_LIBRARIES = ("CUBLAS", "CUBLAS_LT", "CUDNN")
#: The first that serves the device is the canary's.
_PREFERENCE = ("tensorrt", "tensorrt-rtx", "onnxruntime")


@dataclass(frozen=True)
class TimedCanary:
    """An engine that was run just now.

    Attributes:
        toolchain: that built it, and ran it.
        digest: of its bytes.
        signed: by the worker that built it.
        measurement: how long it took, with the conditions.
    """

    toolchain: ToolchainId
    digest: Digest
    signed: SignedManifest
    measurement: Measurement


class CanaryEngine:
    """The canary of one device.

    Args:
        place: what the worker works with.
        folder: for files of the child; there and empty while it is timed.
        benchmark: how to time it.
    """

    def __init__(self, place: Workplace, folder: Path, benchmark: BenchmarkSpec) -> None:
        self._place = place
        self._farm = place.farm
        self._folder = folder
        self._benchmark = benchmark
        self._is_gpu = place.device.device_type.kind is DeviceKind.GPU
        self._batch = BATCH_ON_GPU if self._is_gpu else BATCH_ON_CPU

    def spec(self) -> BuildSpec:
        """The key of the engine, for the toolchain that suits the device best.

        Raises:
            UnsupportedTargetError: none here serves it.
        """
        device_type = self._place.device.device_type
        with self._farm.database.reading() as transaction:
            serving = {
                description.id: description
                for description in transaction.fleet.toolchains()
                if description.can_serve(device_type) and not description.why_not("fp32")
            }
        own = [id_ for id_ in self._place.interpreters if id_ in serving and id_.name not in ONLY_BASELINES]
        if not own:
            raise UnsupportedTargetError(f"no toolchain here builds a canary for {device_type.slug}")
        chosen = max(own, key=_suits)
        shape = (self._batch, *_IMAGE)
        return BuildSpec(
            model_sha256=digest_of_file(canary_model()).sha256,
            target=Target(device_type, chosen),
            precision="fp32",
            builder_config=without_other_libraries(serving[chosen]),
            profiles=({"image": ShapeRange((1, *_IMAGE), shape, shape)},),
        )

    def timed(self, spec: BuildSpec, lock: DeviceLock) -> TimedCanary:
        """Times the engine that is there, else a new one.

        Raises:
            ChildFailedError: a new one can not be built, or does not run.
            StoppedError: the worker stops.
            FarmError: the database or the store is away.
        """
        path, toolchain = self._folder / "engine", spec.target.toolchain
        path.unlink(missing_ok=True)
        filed = self._place_filed(spec, path)
        if filed is not None:
            try:
                return TimedCanary(toolchain, *filed, self._run(spec, path, lock, is_build=False))
            except ChildFailedError as error:
                _log.warning("the canary's engine does not run, so it is built anew: %s", error)
                path.unlink(missing_ok=True)
        measurement = self._run(spec, path, lock, is_build=True)
        digest = self._farm.store.put_file(own_file(path))
        return TimedCanary(toolchain, digest, self._signed(spec, digest), measurement)

    def _place_filed(self, spec: BuildSpec, path: Path) -> tuple[Digest, SignedManifest] | None:
        """Writes the engine of the last canary to a file; none where there is none that a trusted worker has signed."""
        device, target = self._place.device, spec.target
        with self._farm.database.reading() as transaction:
            newest = transaction.canaries.newest(device.uuid, target.device_type, target.toolchain)
        if newest is None:
            return None
        try:
            signed = SignedManifest.from_json(newest.conditions.get("signed"))
            check_manifest(signed, spec, newest.engine, open_trusted_keys(self._farm))
            self._farm.store.fetch(newest.engine, path)
        except TransientError:
            # The farm is away, not the engine.
            raise
        except FarmError as error:
            _log.warning("the canary's engine is built anew: %s", error)
            return None
        return newest.engine, signed

    def _run(self, spec: BuildSpec, path: Path, lock: DeviceLock, *, is_build: bool) -> Measurement:
        place, toolchain = self._place, spec.target.toolchain
        child = ChildProcess(
            place.interpreters[toolchain],
            self._folder,
            "canary",
            attempt_request_as_json(self._request(spec, path, is_build=is_build)),
            code=place.code,
            environment=place.environment_for(toolchain),
            limits=Limits.of(self._farm.settings, DEADLINE_S),
            pass_fds=(lock.fileno(),),
        )
        phase = ""

        def note(events: Sequence[ChildEvent]) -> None:
            nonlocal phase
            phase = events[-1].phase.value if events else phase

        uuid = place.device.uuid if self._is_gpu else ""
        with ConditionWatch(uuid, child.pid, lambda: phase) as watch:
            outcome = child.supervise(deadline_s=DEADLINE_S, should_stop=place.stopping.is_set, on_tick=note)
        if outcome.was_stopped:
            raise StoppedError
        if failure := outcome.what_failed:
            raise ChildFailedError(failure)
        return watch.judged(result_from_json(outcome.answer)).measurements[0]

    def _request(self, spec: BuildSpec, path: Path, *, is_build: bool) -> AttemptRequest:
        model_path = self._folder / "canary.onnx"
        shutil.copyfile(canary_model(), model_path)
        toolchain, shapes = spec.target.toolchain, {"image": (self._batch, *_IMAGE)}
        build = BuildInput(
            model_path=model_path,
            engine_path=path,
            precision=spec.precision,
            builder_config=spec.builder_config,
            profiles=spec.profiles,
            compute_capability=spec.target.device_type.compute_capability,
        )
        return AttemptRequest(
            toolchain=toolchain.name,
            toolchain_version=toolchain.version,
            engine_path=path,
            build=build if is_build else None,
            benchmark=replace(self._benchmark, batches=(self._batch,)),
            timed_calls=(TimedCall(self._batch, shapes),),
        )

    def _signed(self, spec: BuildSpec, engine: Digest) -> SignedManifest:
        place = self._place
        check_signer(self._farm, place.signer)
        with self._farm.database.reading() as transaction:
            made_at = transaction.now()
        return place.signer.sign(
            EngineManifest(
                key=spec.digest.sha256,
                model_sha256=spec.model_sha256,
                engine=engine,
                toolchain=spec.target.toolchain,
                device_type=spec.target.device_type,
                precision=spec.precision,
                job_id="canary",
                attempt=1,
                worker_id=place.worker_id,
                host=place.device.host,
                made_at=made_at.astimezone(UTC).isoformat(timespec="seconds"),
            )
        )


def without_other_libraries(toolchain: ToolchainDescription) -> dict[str, Any]:
    """Options with which an engine depends on its toolchain and driver alone: not on a cuDNN that may be replaced."""
    sources = next((option for option in toolchain.options if option.name == "tactic_sources"), None)
    others = [f"-{name}" for name in _OTHER_LIBRARIES if sources and name in sources.choices]
    return toolchain.normalise({"tactic_sources": others}) if others else {}


def _suits(toolchain: ToolchainId) -> tuple[int, tuple[int, ...]]:
    """Greater for what suits better: by name, then the newest."""
    known = toolchain.name in _PREFERENCE
    return -_PREFERENCE.index(toolchain.name) if known else -len(_PREFERENCE), toolchain.version_order
