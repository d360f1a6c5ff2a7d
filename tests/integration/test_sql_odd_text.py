"""Odd text and documents come back as far as a database can hold them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, text

from farm.domain.errors import InvalidRequestError, NotFoundError
from farm.domain.jobs import AttemptState, JobState, Phase
from farm.storage import tables
from tests.behaviours.given import (
    HOUR_S,
    attempts_of,
    get_job,
    given_a_farm,
    given_a_finished_job,
    given_a_model,
    given_a_queued_job,
    given_a_running_job,
)
from tests.factories import (
    a_build_spec,
    a_device,
    a_device_type,
    a_failure,
    a_job_request,
    a_model,
    a_worker,
    an_outcome,
)

if TYPE_CHECKING:
    from farm.storage.database import SqlDatabase

#: What a log of a crashed builder or a sloppy exporter may hold: NUL, half a surrogate pair, emoji, much of it.
ODD = "a\0b \udcff \N{ROCKET} ünï\u2028" + "long" * 20_000
#: What becomes of it: what no database can hold is replaced, nothing else changes.
ODD_AS_KEPT = ODD.replace("\0", "\ufffd").replace("\udcff", "?")


def test_odd_text_of_a_child_is_kept_as_far_as_a_database_can(database: SqlDatabase) -> None:
    given_a_farm(database)
    job, attempt = given_a_running_job(database)
    with database.transaction() as transaction:
        transaction.jobs.report(attempt, Phase.BUILD, 0.5, ODD)
        transaction.jobs.append_log(attempt, ODD)
    with database.reading() as transaction:
        assert transaction.jobs.live_log(attempt) == ODD.replace("\0", "").replace("\udcff", "?")
    assert attempts_of(database, job)[0].message == ODD_AS_KEPT[:500]
    failure = a_failure(code=ODD, message=ODD, hint=ODD)
    with database.transaction() as transaction:
        transaction.jobs.close(
            attempt,
            AttemptState.FAILED,
            JobState.FAILED,
            failure=failure,
            environment={ODD: [ODD, {"a": ODD}]},
        )
    kept = replace(failure, code=ODD_AS_KEPT, message=ODD_AS_KEPT, hint=ODD_AS_KEPT)
    assert get_job(database, job).failure == kept
    assert attempts_of(database, job)[0].failure == kept
    with raw(database) as connection:
        environment = connection.execute(select(tables.attempts.c.environment)).scalar_one()
    assert environment == {ODD_AS_KEPT: [ODD_AS_KEPT, {"a": ODD_AS_KEPT}]}


def test_odd_text_of_a_user_and_a_machine_is_kept_as_far_as_a_database_can(database: SqlDatabase) -> None:
    odd = ODD[:300]
    device = a_device(
        a_device_type(product_name="\N{ROCKET}" * 300, variant="v" * 300), host=odd, driver_version=odd
    )
    with database.transaction() as transaction:
        transaction.fleet.register(
            a_worker(id="w" * 200, host=odd, device=device, device_types=(a_device_type(),), version=odd)
        )
    name = given_a_model(database, a_model(producer=odd), odd[:200])
    with database.transaction() as transaction:
        filed = transaction.jobs.add_submission(
            name=name, user=odd, tags={odd: odd}, cells=[], request={"model": odd}
        )
        job = transaction.jobs.add(a_build_spec(), a_job_request())
        taken = transaction.jobs.claim(job.id, worker_id="w" * 200, device=device, lease_s=HOUR_S)
    assert taken is not None
    kept = odd.replace("\0", "\ufffd").replace("\udcff", "?")
    assert (filed.user, filed.tags, filed.model_name) == (kept, {kept: kept}, kept[:200])
    assert (taken[1].host, taken[1].driver_version) == (kept, kept)
    with database.reading() as transaction:
        assert transaction.models.named(odd[:200]) == name
        assert transaction.fleet.workers()[0].current_job == job.id
        for reference in ("\udcff\0", "%", "'; DROP TABLE jobs; --"):
            with pytest.raises(NotFoundError):
                transaction.models.named(reference)
            with pytest.raises(NotFoundError):
                transaction.jobs.get(reference)


def test_a_spec_that_would_come_back_as_another_is_refused(database: SqlDatabase) -> None:
    given_a_farm(database)
    with pytest.raises(InvalidRequestError, match="NUL"):
        given_a_queued_job(database, a_build_spec(salt="a\0b"))
    assert read_jobs(database) == []


def test_specs_keep_their_keys_whatever_text_they_hold(database: SqlDatabase) -> None:
    given_a_farm(database)
    odd = a_build_spec(
        salt="ünï \N{ROCKET} \u2028\\u0000 'quoted\" \x01",
        builder_config={"z": 2**62, "a": True, "m": ["+B", "-A"], "nested.name": "4"},
    )
    job = given_a_queued_job(database, odd)
    assert get_job(database, job).spec == odd
    assert get_job(database, job).spec.digest == odd.digest


def test_figures_that_json_has_no_word_for_become_null(database: SqlDatabase) -> None:
    given_a_farm(database)
    _, attempt = given_a_running_job(database)
    with database.transaction() as transaction:
        transaction.jobs.close(
            attempt,
            AttemptState.SUCCEEDED,
            JobState.SUCCEEDED,
            seconds={"build": 1e-9, "verify": 1.0},
            environment={"nan": float("nan"), "all": [float("inf"), -2.5e10, 0.1]},
        )
    with raw(database) as connection:
        row = connection.execute(select(tables.attempts.c.environment, tables.attempts.c.seconds)).one()
    assert row.environment == {"nan": None, "all": [None, -2.5e10, 0.1]}
    assert row.seconds == {"build": 1e-9, "verify": 1.0}


def test_a_run_without_accuracy_has_the_databases_own_null(database: SqlDatabase) -> None:
    given_a_farm(database)
    given_a_finished_job(database, outcome=an_outcome(accuracy=None))
    with raw(database) as connection:
        assert connection.execute(text("SELECT count(*) FROM runs WHERE accuracy IS NULL")).scalar_one() == 1


def test_a_name_that_is_too_long_is_refused_in_words(database: SqlDatabase) -> None:
    with pytest.raises(InvalidRequestError, match="201 characters"):
        given_a_model(database, a_model(), "n" * 201)
    assert given_a_model(database, a_model(), "n" * 200).version == 1


def test_a_version_of_any_length_is_just_not_there(database: SqlDatabase) -> None:
    given_a_model(database, a_model(), "resnet")
    with database.reading() as transaction, pytest.raises(NotFoundError):
        transaction.models.named("resnet@" + "9" * 40)


# What the tests start from.


def raw(database: SqlDatabase) -> Any:
    """A transaction on the bare tables."""
    return database.engine.begin()


def read_jobs(database: SqlDatabase) -> list[str]:
    """The ids of all jobs."""
    with database.reading() as transaction:
        return [job.id for job in transaction.jobs.jobs()]
