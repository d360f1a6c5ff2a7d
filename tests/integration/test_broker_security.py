"""Redis as a broker that is open to nobody else: an ACL user with few rights, and TLS."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
from kombu import pools

from farm.domain.errors import BrokerUnavailableError
from farm.domain.work import WakeUp
from farm.settings import read_settings
from tests.certificates import Authority
from tests.factories import a_target
from tests.fake_toolchain.harness import farm_of_test, settings_in
from tests.server_process import _free_port
from tests.services import RedisServer
from workers.queues import CeleryQueue, new_celery_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farm.settings import Settings
    from workers.interpreters import Interpreter

RULES = (Path(__file__).parents[2] / "deploy" / "redis" / "farm.acl").read_text().split()
PASSWORD = "p@ss/w:rd?"  # noqa: S105 - of a server that lives for one test
WAKE_UP = WakeUp(a_target(), "j-0000000000")


def broker_url(url: str, folder: Path, password: str = PASSWORD) -> str:
    """What the settings make of a URL and a file with the password."""
    file = folder / "password"
    file.write_text(password + "\n")
    environment = {"FARM_BROKER_URL": url, "FARM_BROKER_PASSWORD_FILE": str(file)}
    return read_settings(folder, environment).broker_url


def settings_of(folder: Path, url: str) -> Settings:
    return replace(settings_in(folder / "home"), broker_url=url)


def announce(folder: Path, url: str) -> None:
    # Of a process, which has one broker: a connection of another test to the same host would be taken.
    pools.reset()
    CeleryQueue(new_celery_app(settings_of(folder, url)), url).announce(WAKE_UP)


# The ACL user.


@pytest.fixture(scope="module")
def guarded() -> Iterator[RedisServer]:
    """A Redis with the user `farm` of the deployment."""
    with RedisServer() as server:
        redis.Redis.from_url(server.url).execute_command(
            "ACL", "SETUSER", "farm", "reset", "on", f">{PASSWORD}", *RULES
        )
        yield server


def farm_user(server: RedisServer) -> redis.Redis:
    return redis.Redis(port=server.port, username="farm", password=PASSWORD)


def denied(server: RedisServer) -> list[object]:
    """What the server's own log says was refused to the user."""
    return list(redis.Redis.from_url(server.url).acl_log())


def test_a_job_is_announced_and_built_by_a_user_who_may_do_no_more_than_that(
    tmp_path: Path, own: Interpreter, guarded: RedisServer
) -> None:
    redis.Redis.from_url(guarded.url).acl_log_reset()
    url = broker_url(f"redis://farm@127.0.0.1:{guarded.port}/0", tmp_path)
    with farm_of_test(tmp_path, own, settings=settings_of(tmp_path, url)) as place, place.worker():
        (job_id,) = place.submit()
        place.succeeded(job_id)
    assert denied(guarded) == []
    keys = redis.Redis.from_url(guarded.url).keys("*")
    assert keys
    assert all(key.startswith(b"farm:") for key in keys)


def test_a_message_that_nobody_confirmed_is_put_back_by_that_user(
    tmp_path: Path, guarded: RedisServer
) -> None:
    redis.Redis.from_url(guarded.url).acl_log_reset()
    url = broker_url(f"redis://farm@127.0.0.1:{guarded.port}/0", tmp_path)
    app = new_celery_app(settings_of(tmp_path, url))
    app.conf.broker_transport_options = {**app.conf.broker_transport_options, "visibility_timeout": 0}
    CeleryQueue(app, url).announce(WAKE_UP)
    with app.connection_for_read() as connection, connection.channel() as channel:
        queue = connection.SimpleQueue(WAKE_UP.target.queue, channel=channel)
        queue.get(timeout=5)
        channel.qos.restore_visible()
        queue.get(timeout=5).ack()
        queue.close()
    assert denied(guarded) == []


@pytest.mark.parametrize(
    "command",
    [
        ("GET", "other:key"),
        ("LPUSH", "celery", "x"),
        ("SET", "farm", "x"),
        ("KEYS", "farm:*"),
        ("SCAN", "0"),
        ("FLUSHALL",),
        ("FLUSHDB",),
        ("CONFIG", "GET", "*"),
        ("ACL", "LIST"),
        ("CLIENT", "LIST"),
        ("MONITOR",),
        ("SHUTDOWN", "NOSAVE"),
        ("EVAL", "return redis.call('get', 'other:key')", "0"),
        ("SUBSCRIBE", "farm:x"),
        ("REPLICAOF", "127.0.0.1", "1"),
        ("MODULE", "LIST"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_foreign_keys_and_other_commands_are_refused_to_the_user(
    guarded: RedisServer, command: tuple[str, ...]
) -> None:
    with farm_user(guarded) as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command)


def test_a_script_of_the_user_gets_no_further_than_the_user(guarded: RedisServer) -> None:
    with farm_user(guarded) as client:
        digest = client.script_load("return redis.call('get', 'other:key')")
        with pytest.raises(redis.exceptions.ResponseError, match=r"can't access|No permissions|ACL failure"):
            client.evalsha(digest, 0)


def test_a_wrong_password_is_a_broker_that_can_not_be_reached_and_is_not_shown(
    tmp_path: Path, guarded: RedisServer
) -> None:
    url = broker_url(f"redis://farm@127.0.0.1:{guarded.port}/0", tmp_path, "canary-1234")
    with pytest.raises(BrokerUnavailableError) as caught:
        announce(tmp_path, url)
    assert "canary" not in str(caught.value)


# TLS.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority of this fleet."""
    return Authority(tmp_path_factory.mktemp("tls"), "ours")


@pytest.fixture(scope="module")
def encrypted(authority: Authority) -> Iterator[str]:
    """`127.0.0.1:PORT` of a Redis that speaks TLS there."""
    certificate, port = authority.issue("127.0.0.1"), _free_port()
    options = ("--tls-port", port, "--tls-cert-file", certificate.path, "--tls-key-file", certificate.key)
    server = RedisServer(options=(*options, "--tls-ca-cert-file", authority.path, "--tls-auth-clients", "no"))
    try:
        server.start()
        yield f"127.0.0.1:{port}"
    except RuntimeError as error:
        if "tls-port" not in str(error):
            raise
        pytest.skip("this Redis was built without TLS")
    finally:
        server.close()


def test_a_job_is_built_over_tls_with_the_fleets_own_authority(
    tmp_path: Path, own: Interpreter, authority: Authority, encrypted: str
) -> None:
    environment = {"FARM_BROKER_URL": f"rediss://{encrypted}/0?ssl_ca_certs={authority.path}"}
    url = read_settings(tmp_path, environment).broker_url
    with farm_of_test(tmp_path, own, settings=settings_of(tmp_path, url)) as place, place.worker():
        (job_id,) = place.submit()
        place.succeeded(job_id)


def test_a_server_that_another_authority_vouches_for_is_refused(tmp_path: Path, encrypted: str) -> None:
    other = Authority(tmp_path, "other")
    with pytest.raises(BrokerUnavailableError, match=r"(?i)certificate"):
        announce(tmp_path, f"rediss://{encrypted}/0?ssl_ca_certs={other.path}&ssl_cert_reqs=required")


def test_without_an_authority_named_those_of_the_system_must_vouch(tmp_path: Path, encrypted: str) -> None:
    url = read_settings(tmp_path, {"FARM_BROKER_URL": f"rediss://{encrypted}/0"}).broker_url
    with pytest.raises(BrokerUnavailableError, match=r"(?i)certificate"):
        announce(tmp_path, url)


def test_a_name_that_is_not_the_certificates_is_refused(
    tmp_path: Path, authority: Authority, encrypted: str
) -> None:
    port = encrypted.partition(":")[2]
    url = f"rediss://localhost:{port}/0?ssl_ca_certs={authority.path}&ssl_cert_reqs=required"
    with pytest.raises(BrokerUnavailableError, match=r"(?i)certificate|hostname"):
        announce(tmp_path, url)
