"""Signed builds: workers sign what they build, load only what is signed, and a farm of one host has its own key."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from farm.bootstrap import open_farm, open_signer, open_trusted_keys
from farm.domain.errors import ConflictError, InvalidRequestError, UntrustedEngineError
from farm.domain.jobs import FailureClass, JobKind
from farm.domain.thresholds import Thresholds
from farm.domain.verification import VerificationSpec
from farm.services.trust import check_engine
from farm.storage.database import SqlDatabase
from farm.storage.signing import make_signer
from tests.fake_toolchain.harness import FarmOfTest, settings_in

if TYPE_CHECKING:
    from pathlib import Path


def execute(place: FarmOfTest, statement: str, **values: Any) -> None:
    """What somebody does who can write to SQL."""
    assert isinstance(place.farm.database, SqlDatabase)
    with place.farm.database.engine.begin() as connection:
        assert connection.execute(text(statement), values).rowcount > 0


def built(place: FarmOfTest, **request: Any) -> str:
    """The id of a build that succeeded."""
    with place.worker():
        (job_id,) = place.submit(**request)
        place.succeeded(job_id)
    return job_id


def test_what_a_worker_builds_is_signed_for_its_key_and_bytes(place: FarmOfTest) -> None:
    job_id = built(place)
    engine = place.engine(job_id)
    manifest = check_engine(engine, place.job(job_id).spec, open_trusted_keys(place.farm))
    (attempt,) = place.attempts(job_id)
    assert (manifest.job_id, manifest.attempt, manifest.worker_id) == (job_id, 1, attempt.worker_id)
    assert manifest.host == attempt.host
    assert place.farm.store.has(manifest.engine)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE engines SET artifact_sha256 = :other", "differs in bytes"),
        ("UPDATE engines SET manifest = replace(manifest, 'fp32', 'fp16')", "does not hold"),
        ("UPDATE engines SET manifest = NULL", "does not hold"),
        ("UPDATE engines SET manifest = '[1]'", "does not hold"),
        ("UPDATE engines SET signing_key = 'nobody'", "nobody here trusts"),
        ("UPDATE artifacts SET size_bytes = size_bytes + 1", "differs in bytes"),
        (
            "UPDATE engines SET (manifest, signature) ="
            " (SELECT manifest, signature FROM engines AS e WHERE e.job_id <> engines.job_id)",
            "differs in key",
        ),
    ],
    ids=["bytes", "manifest", "no manifest", "no document", "key", "size", "swapped"],
)
def test_an_engine_that_somebody_changed_in_sql_never_reaches_a_child(
    place: FarmOfTest, statement: str, words: str
) -> None:
    built(place)
    built(place, salt="other")
    foreign = place.farm.store.put_bytes(b"another engine")
    with place.farm.database.transaction() as transaction:
        transaction.engines.add_artifact(foreign, "engine")
    # A limit that the first verification does not meet asks for another one.
    (benchmark,) = place.submit(verification=VerificationSpec(thresholds=Thresholds(min_cosine=1.1)))
    assert place.job(benchmark).request.kind is JobKind.BENCHMARK
    execute(place, statement, **({"other": foreign.sha256} if ":other" in statement else {}))
    with place.worker():
        job = place.ended(benchmark)
    assert job.failure is not None
    assert job.failure.code == "UntrustedEngineError"
    assert job.failure.failure_class is FailureClass.CORRUPT
    assert words in job.failure.message
    (attempt,) = place.attempts(benchmark)
    assert attempt.phase == "prepare"


def test_an_engine_without_a_signature_is_built_anew_when_it_is_submitted_again(place: FarmOfTest) -> None:
    first = built(place)
    execute(place, "UPDATE engines SET manifest = NULL, signature = '', signing_key = ''")
    assert not place.engine(first).is_signed
    second = built(place)
    assert second != first
    assert place.job(second).request.kind is JobKind.BUILD
    engine = place.engine(second)
    assert engine.job_id == second
    check_engine(engine, place.job(second).spec, open_trusted_keys(place.farm))


def test_what_a_revoked_key_signed_is_built_anew_with_another(place: FarmOfTest) -> None:
    first = built(place)
    signed = place.engine(first).signed
    assert signed is not None
    with place.farm.database.transaction() as transaction:
        transaction.keys.revoke(signed.signing_key)
    with pytest.raises(UntrustedEngineError, match="is revoked"):
        check_engine(place.engine(first), place.job(first).spec, open_trusted_keys(place.farm))
    with pytest.raises(ConflictError, match="is revoked") as caught:
        place.worker()
    assert "Remove the file" in caught.value.hint
    (place.farm.settings.home / "signing.key").unlink()
    second = built(place)
    again = place.engine(second).signed
    assert again is not None
    assert again.signing_key != signed.signing_key
    check_engine(place.engine(second), place.job(second).spec, open_trusted_keys(place.farm))


# Keys of a farm.


def test_a_farm_of_one_host_makes_its_key_and_trusts_it(tmp_path: Path) -> None:
    farm = open_farm(settings_in(tmp_path))
    path = tmp_path / "signing.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert open_signer(farm).public_key.id in open_trusted_keys(farm)


def test_a_farm_of_the_release_before_gets_its_key_when_it_is_opened_again(tmp_path: Path) -> None:
    first = open_farm(settings_in(tmp_path))
    (tmp_path / "signing.key").unlink()
    with first.database.transaction() as transaction:
        transaction.connection.execute(text("DELETE FROM signing_keys"))  # type: ignore[attr-defined]
    farm = open_farm(settings_in(tmp_path))
    assert open_signer(farm).public_key.id in open_trusted_keys(farm)
    with farm.database.reading() as transaction:
        assert len(transaction.keys.all()) == 1


def test_a_key_that_is_named_counts_only_where_somebody_trusts_it(tmp_path: Path) -> None:
    key = tmp_path / "named.key"
    public = make_signer(key).public_key
    farm = open_farm(settings_in(tmp_path / "home", signing_key=key))
    assert not (tmp_path / "home" / "signing.key").exists()
    with pytest.raises(ConflictError, match="nobody trusts") as caught:
        open_signer(farm)
    assert f"farm keys trust {public}" in caught.value.hint
    with farm.database.transaction() as transaction:
        transaction.keys.add(public.id, str(public), "")
    assert open_signer(farm).public_key == public


def test_with_a_file_of_trusted_keys_nothing_in_sql_can_add_one(tmp_path: Path) -> None:
    ours, theirs = make_signer(tmp_path / "ours.key"), make_signer(tmp_path / "theirs.key").public_key
    file = tmp_path / "farm.pub"
    file.write_text(f"{ours.public_key}\n")
    settings = settings_in(tmp_path / "home", signing_key=tmp_path / "ours.key", trusted_keys=file)
    farm = open_farm(settings)
    with farm.database.transaction() as transaction:
        transaction.keys.add(theirs.id, str(theirs), "somebody who can write to SQL")
    trusted = open_trusted_keys(farm)
    assert ours.public_key.id in trusted
    assert theirs.id not in trusted
    stranger = replace(settings, signing_key=tmp_path / "theirs.key")
    with pytest.raises(ConflictError, match="nobody trusts") as caught:
        open_signer(replace(farm, settings=stranger))
    assert "FARM_TRUSTED_KEYS" in caught.value.hint


def test_a_key_in_sql_that_is_none_or_lies_about_its_id_gives_nobody_trust(tmp_path: Path) -> None:
    farm = open_farm(settings_in(tmp_path / "home"))
    stranger = make_signer(tmp_path / "other.key").public_key
    with farm.database.transaction() as transaction:
        transaction.keys.add("0" * 64, "ed25519:nonsense", "")
        transaction.keys.add("1" * 64, str(stranger), "")
    trusted = open_trusted_keys(farm)
    assert "0" * 64 not in trusted
    assert "1" * 64 not in trusted
    assert open_signer(farm).public_key.id in trusted


def test_a_fleets_worker_without_a_key_is_told_how_to_get_one(tmp_path: Path) -> None:
    farm = open_farm(settings_in(tmp_path))
    fleet = replace(farm.settings, database_url="postgresql+psycopg://db/farm")
    with pytest.raises(InvalidRequestError, match="no key to sign engines with") as caught:
        open_signer(replace(farm, settings=fleet))
    assert "FARM_SIGNING_KEY" in caught.value.hint
    assert "farm keys new" in caught.value.hint
