"""What a worker vouches for: it signs the engines that it builds, and loads none that nobody has signed."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

from farm.bootstrap import check_signer, open_trusted_keys
from farm.domain.manifests import EngineManifest
from farm.services.trust import check_engine

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path
    from typing import Any

    from farm.bootstrap import Farm
    from farm.domain.digests import Digest
    from farm.domain.filing import Engine
    from farm.domain.manifests import SignedManifest
    from farm.domain.specs import BuildSpec
    from farm.domain.work import Attempt, Job
    from farm.storage.signing import Signer


def sign_engine(
    farm: Farm,
    signer: Signer,
    job: Job,
    attempt: Attempt,
    engine: Digest,
    insist: Callable[[Callable[[], Any]], Any],
) -> SignedManifest:
    """The signed manifest of an engine that an attempt has just built.

    Args:
        farm: whose trusted keys count.
        signer: the worker's key.
        job: with the build spec.
        attempt: that built it.
        engine: digest of its bytes, as the store took them.
        insist: tries again while the database is away.

    Raises:
        ConflictError: the key was revoked since the worker began: nobody would be handed the engine.
        AttemptSupersededError: the database was away for as long as the lease holds.
    """
    target = job.spec.target
    insist(lambda: check_signer(farm, signer))

    def database_now() -> datetime:
        with farm.database.reading() as transaction:
            return transaction.now()

    made_at: datetime = insist(database_now)
    return signer.sign(
        EngineManifest(
            key=job.spec.digest.sha256,
            model_sha256=job.spec.model_sha256,
            engine=engine,
            toolchain=target.toolchain,
            device_type=target.device_type,
            precision=job.spec.precision,
            job_id=job.id,
            attempt=attempt.number,
            worker_id=attempt.worker_id,
            host=attempt.host,
            made_at=made_at.astimezone(UTC).isoformat(timespec="seconds"),
        )
    )


def place_engine(
    farm: Farm, engine: Engine, spec: BuildSpec, path: Path, insist: Callable[[Callable[[], Any]], Any]
) -> None:
    """Writes a filed engine to a file for the child to load: one that is signed for this key, or none.

    Args:
        farm: the open farm.
        engine: as it is filed.
        spec: of the job.
        path: of the file, which appears complete and verified or not at all.
        insist: asks the database until it answers.

    Raises:
        UntrustedEngineError: nobody trusted has signed just these bytes for just this key.
        CorruptArtifactError: the store has other bytes.
    """
    check_engine(engine, spec, insist(lambda: open_trusted_keys(farm)))
    farm.store.fetch(engine.digest, path)
