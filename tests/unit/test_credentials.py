"""Secrets: where they come from, and that they are taken out of what is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from sqlalchemy import make_url

from farm.credentials import redacted
from farm.domain.errors import InvalidRequestError
from farm.settings import read_settings

if TYPE_CHECKING:
    from pathlib import Path

    from farm.settings import Settings

VARIABLES = ("FARM_DATABASE", "FARM_BROKER")
URLS = {
    "FARM_DATABASE": "postgresql+psycopg://farm{}@host:5432/farm?sslmode=verify-full",
    "FARM_BROKER": "redis://farm{}@host:6379/0",
}
each = pytest.mark.parametrize("variable", VARIABLES)


def url_of(settings: Settings, variable: str) -> str:
    return {"FARM_DATABASE": settings.database_url, "FARM_BROKER": settings.broker_url}[variable]


def written(folder: Path, text: str) -> str:
    path = folder / "secret"
    path.write_text(text)
    return str(path)


@each
def test_a_url_may_come_from_a_file_whose_line_end_does_not_count(variable: str, tmp_path: Path) -> None:
    url = URLS[variable].format(":from-a-file")
    settings = read_settings(environment={f"{variable}_URL_FILE": written(tmp_path, url + "\n")})
    assert url_of(settings, variable) == url


@each
@pytest.mark.parametrize("password", ["plain-one", "p@ss/w:rd?#%41", "ünïcode pass", "{curly}[x]"])
def test_a_password_from_a_file_is_the_urls_whatever_its_characters(
    variable: str, password: str, tmp_path: Path
) -> None:
    environment = {
        f"{variable}_URL": URLS[variable].format(""),
        f"{variable}_PASSWORD_FILE": written(tmp_path, password + "\n"),
    }
    parsed = make_url(url_of(read_settings(environment=environment), variable))
    assert (parsed.username, parsed.password, parsed.host) == ("farm", password, "host")


def test_a_password_from_a_file_wins_over_the_urls_and_needs_no_user(tmp_path: Path) -> None:
    file = written(tmp_path, "second-one")
    for url in ("redis://:first-one@host:6379/0", "redis://host:6379/0"):
        environment = {"FARM_BROKER_URL": url, "FARM_BROKER_PASSWORD_FILE": file}
        assert read_settings(environment=environment).broker_url == "redis://:second-one@host:6379/0"


@each
def test_a_file_that_is_not_there_is_named_without_a_stack_trace(variable: str) -> None:
    with pytest.raises(InvalidRequestError, match=rf"{variable}_URL_FILE names /nowhere"):
        read_settings(environment={f"{variable}_URL_FILE": "/nowhere"})


@each
@pytest.mark.parametrize("content", [b"", b"\n", b"one\ntwo\n", b"\xff\xfe secret", b"x" * 100_000])
def test_a_file_that_holds_no_secret_is_refused_and_not_shown(
    variable: str, content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    with pytest.raises(InvalidRequestError) as caught:
        read_settings(environment={f"{variable}_URL_FILE": str(path)})
    assert str(path) in caught.value.message
    assert caught.value.__cause__ is None
    assert "two" not in str(caught.value) + caught.value.hint


@each
def test_a_url_twice_is_refused_since_nobody_knows_which_counts(variable: str, tmp_path: Path) -> None:
    url = URLS[variable].format("")
    environment = {f"{variable}_URL": url, f"{variable}_URL_FILE": written(tmp_path, url)}
    with pytest.raises(InvalidRequestError, match="both set"):
        read_settings(environment=environment)


@each
def test_a_password_for_no_url_is_refused(variable: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="no URL that could take a password"):
        read_settings(environment={f"{variable}_PASSWORD_FILE": written(tmp_path, "some-secret")})


@pytest.mark.parametrize(
    ("variable", "password"),
    [("FARM_BROKER", "can/ary"), ("FARM_BROKER", "can#ary"), ("FARM_DATABASE", "can@ary")],
)
def test_a_password_that_takes_a_url_apart_is_refused_before_its_pieces_are_shown(
    variable: str, password: str
) -> None:
    with pytest.raises(InvalidRequestError, match="means something in a URL") as caught:
        read_settings(environment={f"{variable}_URL": URLS[variable].format(f":{password}")})
    assert "ary" not in str(caught.value) + caught.value.hint


# Out of what is shown.


@each
def test_a_secret_that_was_read_is_taken_out_of_every_text_however_it_is_written(
    variable: str, tmp_path: Path
) -> None:
    password = f"can'ary/{variable}\\x"
    environment = {
        f"{variable}_URL": URLS[variable].format(""),
        f"{variable}_PASSWORD_FILE": written(tmp_path, password),
    }
    settings = read_settings(environment=environment)
    shown = [password, quote(password, safe=""), repr({"password": password}), url_of(settings, variable)]
    for text in shown:
        assert "ary" not in redacted(f"it said {text}!")
    assert redacted("nothing of it") == "nothing of it"


@each
def test_settings_that_are_printed_show_no_url(variable: str) -> None:
    settings = read_settings(environment={f"{variable}_URL": URLS[variable].format(":canary-9")})
    assert "canary-9" not in repr(settings)


def test_a_password_in_the_query_is_a_secret_as_well() -> None:
    read_settings(environment={"FARM_DATABASE_URL": "postgresql://host/farm?password=canary-in-query"})
    assert redacted("canary-in-query") == "***"


def test_tls_to_the_broker_is_checked_unless_somebody_asks_for_less() -> None:
    def broker(url: str) -> str:
        return read_settings(environment={"FARM_BROKER_URL": url}).broker_url

    assert broker("rediss://host/0") == "rediss://host/0?ssl_cert_reqs=required"
    assert broker("rediss://host/0?ssl_ca_certs=/ca.pem").endswith("ca.pem&ssl_cert_reqs=required")
    assert broker("rediss://host/0?ssl_cert_reqs=none") == "rediss://host/0?ssl_cert_reqs=none"
    assert broker("redis://host/0") == "redis://host/0"
