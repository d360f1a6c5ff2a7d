"""Device types, devices, toolchains and workers on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import update

from farm.domain.fleet import WORKER_SILENCE_S
from farm.storage import tables
from tests.behaviours.given import (
    claim,
    given_a_farm,
    given_a_queued_job,
)
from tests.factories import (
    a_cpu_toolchain,
    a_device,
    a_device_type,
    a_target,
    a_toolchain,
    a_worker,
)

if TYPE_CHECKING:
    from farm.storage.database import SqlDatabase


def test_a_second_product_of_the_same_name_gets_a_longer_slug_and_a_third_a_longer_one_yet(
    database: SqlDatabase,
) -> None:
    products = [
        a_device_type(),
        a_device_type(memory_gib=96),
        a_device_type(memory_gib=96, compute_capability="9.1"),
        a_device_type(memory_gib=96, product_name="NVIDIA  H200"),
    ]
    with database.transaction() as transaction:
        slugs = transaction.fleet.register(a_worker(device_types=tuple(products)))
        again = transaction.fleet.register(a_worker(id="w-2", device_types=tuple(reversed(products))))
    assert again == slugs
    assert len(set(slugs.values())) == 4
    assert sorted(slugs.values(), key=len)[:1] == ["nvidia-h200"]
    assert "nvidia-h200-132sm-96gib" in slugs.values()
    with database.reading() as transaction:
        assert {slug: type_ for type_, slug in slugs.items()} == transaction.fleet.device_types()


def test_a_worker_comes_back_as_it_registered(database: SqlDatabase) -> None:
    given_a_farm(database)
    with database.reading() as transaction:
        (worker,) = transaction.fleet.workers()
        assert transaction.fleet.devices() == [a_device()]
        assert transaction.fleet.toolchains() == [a_toolchain()]
        assert transaction.fleet.known_targets() == {(a_device_type(), a_toolchain().id)}
    assert (worker.id, worker.host, worker.pid, worker.device) == ("w-1", "host-a", 100, a_device())
    assert worker.targets == (a_target(),)
    assert worker.toolchains == (a_toolchain().id,)
    assert worker.is_live


def test_registering_again_is_no_error_since_the_first_time_may_have_been_lost_on_the_way(
    database: SqlDatabase,
) -> None:
    twice = a_worker(device_types=(a_device_type(), a_device_type()))
    for _ in range(2):
        with database.transaction() as transaction:
            assert transaction.fleet.register(twice) == {a_device_type(): "nvidia-h200"}
    with database.reading() as transaction:
        assert [worker.targets for worker in transaction.fleet.workers()] == [(a_target(),)]


def test_a_worker_is_live_until_it_falls_silent_or_leaves_and_again_when_it_beats(
    database: SqlDatabase,
) -> None:
    given_a_farm(database)
    job = given_a_queued_job(database)
    claim(database, job)
    assert live_workers(database) == {"w-1": job.id}
    with database.transaction() as transaction:
        silent_since = transaction.now() - timedelta(seconds=WORKER_SILENCE_S)
    with raw(database) as connection:
        connection.execute(update(tables.workers).values(heartbeat_at=silent_since))
    assert live_workers(database) == {}
    with database.transaction() as transaction:
        transaction.fleet.beat("w-1")
    assert live_workers(database) == {"w-1": job.id}
    with database.transaction() as transaction:
        transaction.fleet.stop("w-1")
    assert live_workers(database) == {}
    with database.transaction() as transaction:
        transaction.fleet.beat("w-1")
    assert live_workers(database) == {"w-1": job.id}


def test_live_workers_come_first(database: SqlDatabase) -> None:
    with database.transaction() as transaction:
        for number in range(3):
            transaction.fleet.register(a_worker(id=f"w-{number}"))
        transaction.fleet.stop("w-0")
    with database.reading() as transaction:
        assert [worker.id for worker in transaction.fleet.workers()][-1] == "w-0"


def test_what_is_known_of_a_device_and_a_toolchain_is_the_newest(database: SqlDatabase) -> None:
    given_a_farm(database)
    moved = a_device(host="host-b", driver_version="600.1", index=3)
    richer = a_toolchain(max_opset=25)
    with database.transaction() as transaction:
        transaction.fleet.register(a_worker(id="w-2", device=moved, toolchains=(richer,)))
    with database.reading() as transaction:
        assert transaction.fleet.devices() == [moved]
        assert transaction.fleet.toolchains() == [richer]


def test_a_machine_is_described_without_a_worker(database: SqlDatabase) -> None:
    with database.transaction() as transaction:
        transaction.fleet.describe([a_device_type()], [a_toolchain(), a_cpu_toolchain()])
    with database.reading() as transaction:
        assert transaction.fleet.workers() == []
        assert transaction.fleet.known_targets() == {(a_device_type(), a_toolchain().id)}
        assert len(transaction.fleet.toolchains()) == 2


# What the tests start from.


def raw(database: SqlDatabase) -> Any:
    """A transaction on the bare tables."""
    return database.engine.begin()


def live_workers(database: SqlDatabase) -> dict[str, str]:
    """The live workers with the job that each is at."""
    with database.reading() as transaction:
        return {worker.id: worker.current_job for worker in transaction.fleet.workers() if worker.is_live}
