"""From the environment to settings."""

from __future__ import annotations

import getpass
import socket
from pathlib import Path

import pytest

from farm.credentials import redacted
from farm.domain.errors import InvalidRequestError
from farm.domain.stores import BucketUrl
from farm.settings import child_environment, read_settings
from farm.storage.database import SqlDatabase


def test_with_nothing_set_the_farm_lives_in_one_folder_of_the_users() -> None:
    settings = read_settings(environment={})
    home = Path.home() / ".local" / "share" / "engine-farm"
    assert settings.home == home
    assert settings.database_url == f"sqlite:///{home}/farm.db"
    assert settings.sqlite_path == home / "farm.db"
    assert settings.store == home / "artifacts"
    assert settings.scratch == home / "scratch"
    assert settings.broker_url == "memory://"
    assert settings.is_embedded
    assert settings.host == socket.gethostname()
    assert settings.lease_s == 30


def test_the_desktops_folder_for_data_is_respected() -> None:
    assert read_settings(environment={"XDG_DATA_HOME": "/data"}).home == Path("/data/engine-farm")


def test_every_variable_has_its_place() -> None:
    settings = read_settings(
        environment={
            "FARM_HOME": "/farm",
            "FARM_DATABASE_URL": "postgresql+psycopg://me@host/farm",
            "FARM_STORE": "/mnt/store",
            "FARM_BROKER_URL": "redis://host",
            "FARM_SCRATCH": "/fast",
            "FARM_USER": "ada",
            "FARM_LEASE_S": "12.5",
        }
    )
    assert settings.home == Path("/farm")
    assert settings.database_url == "postgresql+psycopg://me@host/farm"
    assert settings.sqlite_path is None
    assert settings.store == Path("/mnt/store")
    assert settings.broker_url == "redis://host"
    assert not settings.is_embedded
    assert settings.scratch == Path("/fast")
    assert settings.user == "ada"
    assert settings.lease_s == 12.5


def test_an_empty_variable_is_as_good_as_none() -> None:
    names = ("HOME", "DATABASE_URL", "STORE", "BROKER_URL", "SCRATCH", "USER", "LEASE_S")
    assert read_settings(environment={f"FARM_{name}": "" for name in names}) == read_settings(environment={})


def test_an_explicit_home_wins_over_the_environments() -> None:
    settings = read_settings(Path("/explicit"), {"FARM_HOME": "/farm"})
    assert settings.home == Path("/explicit")
    assert settings.store == Path("/explicit/artifacts")
    assert settings.sqlite_path == Path("/explicit/farm.db")


def test_an_explicit_home_leaves_the_other_variables_alone() -> None:
    settings = read_settings(
        Path("/explicit"), {"FARM_STORE": "/mnt/store", "FARM_DATABASE_URL": "sqlite:////x/y.db"}
    )
    assert settings.store == Path("/mnt/store")
    assert settings.sqlite_path == Path("/x/y.db")


def test_folders_are_absolute_and_a_tilde_is_the_users_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = read_settings(
        environment={"FARM_HOME": "here", "FARM_STORE": "~/store", "FARM_SCRATCH": "../fast"}
    )
    assert settings.home == tmp_path / "here"
    assert settings.store == Path.home() / "store"
    assert settings.scratch.is_absolute()


def test_without_a_variable_the_user_is_who_is_logged_in() -> None:
    assert read_settings(environment={}).user == getpass.getuser()


def test_a_user_id_without_an_account_is_a_user_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(getpass, "getuser", unknown)
    assert read_settings(environment={}).user.isdecimal()


def test_a_user_without_a_home_is_told_to_name_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)
    with pytest.raises(InvalidRequestError, match="no home folder") as caught:
        read_settings(environment={})
    assert "FARM_HOME" in caught.value.hint
    assert read_settings(environment={"FARM_HOME": "/farm"}).home == Path("/farm")


@pytest.mark.parametrize("lease", ["soon", "0", "-1", "nan", "inf", "30s"])
def test_a_lease_that_is_no_time_is_refused(lease: str) -> None:
    with pytest.raises(InvalidRequestError, match="FARM_LEASE_S"):
        read_settings(environment={"FARM_LEASE_S": lease})


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        *(
            (variable, text)
            for variable in ("FARM_HOME", "FARM_STORE", "FARM_SCRATCH")
            for text in ("file:///store", "~nobody-of-that-name/store")
        ),
        ("FARM_HOME", "s3://bucket/key"),
        ("FARM_SCRATCH", "s3://bucket/key"),
    ],
)
def test_what_is_no_folder_is_refused(variable: str, text: str) -> None:
    with pytest.raises(InvalidRequestError, match=variable):
        read_settings(environment={variable: text})


@pytest.mark.parametrize("name", ["plain", "a b", "50%", "50%41", "what?", "a=b&c", "#1", "ünï", "a:b@c"])
def test_a_home_of_any_name_has_its_database_in_it(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    home.mkdir()
    settings = read_settings(home, {})
    assert settings.sqlite_path == home / "farm.db"
    database = SqlDatabase(settings.database_url)
    with database.reading() as transaction:
        transaction.now()
    database.close()
    assert [path.name for path in home.iterdir()][:1] == ["farm.db"]


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:////abs/farm.db", "/abs/farm.db"),
        ("sqlite:///farm.db", "farm.db"),
        ("sqlite+pysqlite:////abs/farm.db", "/abs/farm.db"),
        ("sqlite:////abs/farm.db?timeout=3", "/abs/farm.db"),
        ("postgresql://host/sqlite:///farm.db", None),
        ("sqlite://", None),
    ],
)
def test_the_databases_file_is_known_if_it_is_one(url: str, path: str | None) -> None:
    settings = read_settings(environment={"FARM_DATABASE_URL": url})
    assert settings.sqlite_path == (Path(path) if path else None)


def test_a_child_gets_this_environment_without_the_farms_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_DATABASE_URL", "postgresql://me:secret@host/farm")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/tensorrt/lib")
    environment = child_environment({"CUDA_VISIBLE_DEVICES": "GPU-0"})
    assert not [name for name in environment if name.startswith("FARM_")]
    assert environment["LD_LIBRARY_PATH"] == "/opt/tensorrt/lib"
    assert environment["CUDA_VISIBLE_DEVICES"] == "GPU-0"


@pytest.mark.parametrize(
    ("text", "bucket", "prefix"),
    [
        ("s3://engines", "engines", ""),
        ("s3://engines/", "engines", ""),
        ("s3://engines/team/artifacts/", "engines", "team/artifacts"),
    ],
)
def test_a_store_may_be_a_place_in_a_bucket(text: str, bucket: str, prefix: str) -> None:
    store = read_settings(environment={"FARM_STORE": text}).store
    assert store == BucketUrl(bucket, prefix)
    assert str(store) == f"s3://{bucket}/{prefix}".rstrip("/")


@pytest.mark.parametrize(
    "text",
    [
        "s3://",
        "s3:///prefix",
        "s3://E/prefix",
        "s3://bucket/../other",
        "s3://bucket/a//b",
        "s3://bucket/ä",
        "s3://bucket/prefix?region=eu",
        "s3://user:hunter2-hunter2@bucket/prefix",
    ],
)
def test_what_is_no_place_in_a_bucket_is_refused_and_no_password_repeated(text: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_settings(environment={"FARM_STORE": text})
    assert "hunter2" not in caught.value.message + caught.value.hint


def test_the_access_to_a_bucket_comes_from_its_own_variables_and_is_never_shown() -> None:
    access = {"AWS_ACCESS_KEY_ID": "AKIAVERYSECRET", "AWS_SECRET_ACCESS_KEY": "hunter2-hunter2"}
    settings = read_settings(environment={"FARM_STORE": "s3://bucket", **access})
    assert settings.store_access == access
    assert not any(secret in repr(settings) for secret in access.values())
    assert redacted("hunter2-hunter2") == "***"


@pytest.mark.parametrize("url", ["http://broker/0", "amqp://broker", "redis:6379"])
def test_a_broker_that_is_no_redis_is_refused_before_anything_is_filed(url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="FARM_BROKER_URL must be the URL of a Redis"):
        read_settings(tmp_path, {"FARM_BROKER_URL": url})


@pytest.mark.parametrize(("text", "times"), [("", None), ("0", 0), ("9", 9)])
def test_how_often_is_measured_again_is_a_digit_or_left_to_the_device(text: str, times: int | None) -> None:
    assert read_settings(environment={"FARM_REMEASURE": text}).remeasure == times


@pytest.mark.parametrize("text", ["10", "-1", "yes"])
def test_another_number_of_times_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="FARM_REMEASURE"):
        read_settings(environment={"FARM_REMEASURE": text})
