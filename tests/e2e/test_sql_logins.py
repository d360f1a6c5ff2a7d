"""A fleet's command with the login of each SQL role: `farm doctor` says what it may not do, the rest says why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from farm.storage.grants import ROLES
from tests.e2e.driver import FarmCommand

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.services import PostgresServer

OPERATOR = "the operator, who owns the tables"


@pytest.fixture
def farms(tmp_path: Path, postgres_server: PostgresServer) -> Iterator[dict[str, FarmCommand]]:
    """The same farm for its owner and for a login of each role, which is called as the role with `_x` behind."""
    url = postgres_server.createdb()
    place = {
        "FARM_STORE": str(tmp_path / "store"),
        "FARM_BROKER_URL": "redis://127.0.0.1:1/0",
        "FARM_SIGNING_KEY": str(tmp_path / "signing.key"),
    }
    made = {"owner": FarmCommand(tmp_path / "owner", {**place, "FARM_DATABASE_URL": url})}
    made["owner"].run("db", "upgrade")
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as admin:
        for role in ROLES:
            admin.execute(f"CREATE ROLE {role}_x LOGIN IN ROLE {role}".encode())
            own = url.replace("postgres@", f"{role}_x@")
            made[role] = FarmCommand(tmp_path / role, {**place, "FARM_DATABASE_URL": own})
        admin.execute(b"CREATE ROLE nobody_x LOGIN")
        yield made
        for name in (*(f"{role}_x" for role in ROLES), "nobody_x"):
            admin.execute(f"DROP ROLE {name}".encode())
    postgres_server.dropdb(url)


def said_of_login(farm: FarmCommand) -> list[str]:
    found = farm.json("doctor", code=1)  # the broker is away
    return [finding["message"] for finding in found if finding["subject"] == "SQL login"]


def test_the_owner_may_do_everything(farms: dict[str, FarmCommand]) -> None:
    (said,) = said_of_login(farms["owner"])
    assert "the operator" in said
    assert "may not" not in said


@pytest.mark.parametrize(
    ("role", "refused", "allowed"),
    [
        (
            "farm_submitter",
            ("farm worker`", "farm caches drop", "farm gc", "farm keys trust"),
            ("farm submit",),
        ),
        (
            "farm_worker",
            ("farm submit", "farm worker resume", "farm caches drop", "farm gc"),
            ("farm sweep",),
        ),
        ("farm_reader", ("farm submit", "farm sweep", "farm worker drain", "farm db upgrade"), ()),
    ],
)
def test_doctor_says_what_a_role_may_not_do_and_who_may(
    farms: dict[str, FarmCommand], role: str, refused: tuple[str, ...], allowed: tuple[str, ...]
) -> None:
    first, *lines = said_of_login(farms[role])
    assert first == f"{role}_x, with the rights of {role}"
    assert all(line.startswith(f"{role}_x may not: `farm ") and line.endswith(OPERATOR) for line in lines)
    assert all(any(command in line for line in lines) for command in refused)
    assert not any(command in line for line in lines for command in allowed)


def test_what_a_role_may_not_do_is_one_line_and_who_may_do_it(
    farms: dict[str, FarmCommand], tmp_path: Path
) -> None:
    new_key = ("keys", "new", tmp_path / "other.key", "--trust")
    for role in ROLES:
        said = farms[role].refused(*new_key, code=6)
        assert "permission denied for table signing_keys" in said
        assert f"hint:  The rights for it have: {OPERATOR}." in said
        assert not (tmp_path / "other.key").exists(), "a key that nobody trusts lies about"
    said = farms["farm_reader"].refused("sweep", "--once", code=6)
    assert f"The rights for it have: farm_worker, {OPERATOR}." in said


def test_garbage_is_collected_by_the_operator_alone_and_looked_for_by_everybody(
    farms: dict[str, FarmCommand],
) -> None:
    for role in ROLES:
        said = farms[role].refused("gc", "--yes", code=6)
        assert "this login of the database may not collect garbage" in said
        assert OPERATOR in said
        farms[role].run("gc", "--dry-run")
    farms["owner"].run("gc", "--yes")


def test_a_login_without_a_role_is_told_how_it_gets_one(farms: dict[str, FarmCommand]) -> None:
    url = farms["farm_reader"].environment["FARM_DATABASE_URL"].replace("farm_reader_x", "nobody_x")
    found = farms["farm_reader"].run("doctor", "--json", code=1, FARM_DATABASE_URL=url).document
    (database,) = [finding for finding in found if finding["subject"] == "database"]
    assert database["state"] == "broken"
    assert "permission denied" in database["message"]
