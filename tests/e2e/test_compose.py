"""docker-compose.yml: valid by the specification, closed to the outside, and every command of it works by hand."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

import psycopg
import pytest
from jsonschema import Draft7Validator

from cli.main import farm as farm_command
from tests.e2e import models
from tests.e2e.compose_file import COMPOSE, DEPLOY, GPU_WORKERS, SERVICES, STEPS
from tests.e2e.driver import PATIENCE_S, ROOT, FarmCommand, Running, fast_spec
from tests.fake_toolchain.harness import wait_until
from tests.server_process import _free_port
from tests.server_programs import postgres_from_path, postgres_from_wheel
from tests.services import PostgresServer, S3Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCHEMA = ROOT / "tests" / "data" / "compose-spec" / "compose_spec.json"
by_service = pytest.mark.parametrize("name", SERVICES)


# What the file says.


def test_the_file_is_valid_by_the_compose_specification() -> None:
    schema = json.loads(SCHEMA.read_text())
    assert [error.message for error in Draft7Validator(schema).iter_errors(COMPOSE)] == []


def test_a_mistake_in_the_file_would_be_found() -> None:
    wrong = {**COMPOSE, "services": {"farm": {**SERVICES["farm"], "comand": []}}}
    assert list(Draft7Validator(json.loads(SCHEMA.read_text())).iter_errors(wrong)) != []


def test_there_is_everything_that_a_fleet_needs() -> None:
    usual = {name for name, service in SERVICES.items() if "profiles" not in service}
    servers = {"postgres", "redis", "store"}
    assert usual == {*servers, *STEPS, "sweeper", "worker-cpu", "metrics"}
    assert len(GPU_WORKERS) == 3
    wanted = [SERVICES[name]["build"]["args"]["TENSORRT"] for name in GPU_WORKERS]
    assert sorted(re.search(r"==(\d+)", text)[1] for text in wanted) == ["10", "11", "8"]


@by_service
def test_nothing_is_open_but_on_the_hosts_own_address(name: str) -> None:
    service = SERVICES[name]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert "network_mode" not in service
    assert service["networks"] == ["farm"]


@by_service
def test_secrets_come_from_files_and_only_those_that_a_service_needs(name: str) -> None:
    service = SERVICES[name]
    secrets = service.get("secrets", [])
    assert set(secrets) <= set(COMPOSE["secrets"])
    named = re.findall(r"/run/secrets/(\w+)", json.dumps(service["environment"]))
    assert sorted(set(named)) == sorted(secrets), (
        "every secret that is mounted is used, and the other way round"
    )
    for variable, value in service["environment"].items():
        assert not re.search(r"PASSWORD|SECRET|TOKEN", variable) or variable.endswith("_FILE"), variable
        assert not re.search(r"://\w*:[^@/]+@", value), f"a password in {variable}"


@by_service
def test_volumes_and_files_that_are_named_are_there(name: str) -> None:
    service = SERVICES[name]
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        if source == "./models":
            continue  # the user's own
        assert (ROOT / source).exists() if source.startswith("./") else source in COMPOSE["volumes"]
    if "build" in service:
        assert (ROOT / service["build"]["dockerfile"]).is_file()
    for other in service.get("depends_on", {}):
        assert other in SERVICES
        if service["depends_on"][other]["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other]


def seconds_of(text: str) -> int:
    units = {"s": 1, "m": 60, "h": 3600}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([smh])", text))


@pytest.mark.parametrize("name", ["worker-cpu", *GPU_WORKERS])
def test_a_worker_is_given_the_time_to_drain_before_it_is_killed(name: str) -> None:
    service = SERVICES[name]
    assert seconds_of(service["stop_grace_period"]) >= int(service["environment"]["FARM_DRAIN_S"]) + 30


@by_service
def test_what_goes_on_is_restarted_and_watched_and_what_ends_is_waited_for(name: str) -> None:
    service = SERVICES[name]
    if name in STEPS or name == "farm":
        assert "restart" not in service
        waiting = [s.get("depends_on", {}).get(name, {}).get("condition") for s in SERVICES.values()]
        assert "service_completed_successfully" in waiting or name == "farm"
    else:
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", GPU_WORKERS)
def test_workers_of_one_gpu_share_the_locks_of_its_host(name: str) -> None:
    service = SERVICES[name]
    assert "locks:/locks" in service["volumes"]
    assert service["environment"]["FARM_LOCKS"] == "/locks"
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert device["driver"] == "nvidia"
    assert service["build"]["args"].keys() <= set(
        re.findall(r"^ARG (\w+)", (ROOT / service["build"]["dockerfile"]).read_text(), re.MULTILINE)
    )


@pytest.mark.parametrize(
    "name", [name for name, s in SERVICES.items() if s.get("command", [""])[0] == "farm"]
)
def test_the_words_of_a_command_are_those_that_it_takes(name: str) -> None:
    words = [
        sys.executable if word == "/opt/tensorrt/bin/python" else word for word in SERVICES[name]["command"]
    ]
    with farm_command.make_context("farm", words[1:]) as context:
        command = farm_command.get_command(context, words[1])
        assert command is not None
        command.make_context(words[1], words[2:], parent=context)


@by_service
def test_images_are_of_a_version(name: str) -> None:
    image = SERVICES[name]["image"]
    assert re.search(r":[\w.-]*\d", image), image
    assert not image.endswith(":latest")


# Its very commands, by hand.


class ByHand:
    """The services of the file as processes of this machine: other hosts, ports and folders, the same words.

    Args:
        folder: of the test.
        postgres: the database server.
        store: in place of SeaweedFS.
    """

    def __init__(self, folder: Path, postgres: PostgresServer, store: S3Server) -> None:
        self.folder = folder
        self.broker_port, self.metrics_port = _free_port(), _free_port()
        self.secrets = folder / "secrets"
        subprocess.run([DEPLOY / "make-secrets.sh", self.secrets], check=True, stdout=subprocess.DEVNULL)
        self._output = folder / "output"
        self._programs = folder / "bin"
        for path in (self._output, self._programs, *map(self._volume, ("keys", "locks", "data"))):
            path.mkdir()
        self._program("farm", f'exec {shlex.quote(sys.executable)} -m cli.main "$@"')
        self._program("python", f'exec {shlex.quote(sys.executable)} "$@"')
        #: What is elsewhere in a container, as patterns of which none matches another's replacement.
        self._replaced = {
            "/run/secrets/": f"{self.secrets}/",
            "/deploy/": f"{DEPLOY}/",
            "/keys/": f"{self._volume('keys')}/",
            "^/locks$": str(self._volume("locks")),
            "^/data$": str(self._volume("data")),
            "redis:6379": f"127.0.0.1:{self.broker_port}",
            "^6379$": str(self.broker_port),
            "postgres:5432": f"127.0.0.1:{postgres.port}",
            "store:8333": f"127.0.0.1:{store.port}",
            "^0.0.0.0$": "127.0.0.1",
            r"\b9464\b": str(self.metrics_port),
        }

    def _volume(self, name: str) -> Path:
        return self.folder / f"volume-{name}"

    def _program(self, name: str, text: str) -> None:
        path = self._programs / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def _here(self, text: str, name: str) -> str:
        replaced = {**self._replaced, "^/var/lib/farm$": str(self._volume(f"home-{name}"))}
        places = "|".join(f"({there})" for there in replaced)
        # In one go, so that no replacement is replaced again.
        return re.sub(places, lambda found: list(replaced.values())[found.lastindex - 1], text)

    def environment(self, name: str) -> dict[str, str]:
        """What the file gives the service, and nothing of the farm's from outside."""
        inherited = {key: value for key, value in os.environ.items() if not re.match(r"FARM_|AWS_|PG", key)}
        own = {key: self._here(value, name) for key, value in SERVICES[name]["environment"].items()}
        path = f"{self._programs}{os.pathsep}{os.environ['PATH']}"
        return {**inherited, "PATH": path, "PYTHONPATH": str(ROOT), "TMPDIR": str(self._output), **own}

    def start(self, name: str, words: list[str] | None = None) -> Running:
        """A command of a service, by default the one that it is for."""
        command = [self._here(word, name) for word in words or SERVICES[name]["command"]]
        environment = self.environment(name)
        # The program is looked up in the environment that it gets, as in a container.
        command[0] = shutil.which(command[0], path=environment["PATH"]) or command[0]
        return Running(command, self._output, environment)

    def is_healthy(self, name: str) -> bool:
        """What the service's health check says."""
        return self.start(name, SERVICES[name]["healthcheck"]["test"][1:]).end().code == 0

    def farm(self) -> FarmCommand:
        """The command of a person with the submitter's login."""
        farm = FarmCommand(self.folder / "client")
        farm.environment.update({**self.environment("farm"), "FARM_HOME": str(farm.home)})
        return farm

    def leaks(self) -> list[str]:
        """Where a secret stands in what the services said."""
        words = [path.read_text().split("= ")[-1].strip() for path in self.secrets.iterdir()]
        said = [path for path in self._output.rglob("*") if path.is_file() and not path.is_socket()]
        # What Redis reads at its start is not said to anybody.
        said = [path for path in said if path.suffix in (".out", ".err", ".trace")]
        return [path.name for path in said for word in words if word in path.read_text(errors="replace")]


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ByHand]:
    """The servers of the file, empty, as they are after the first start of their containers."""
    folder = tmp_path_factory.mktemp("compose")
    with PostgresServer() as postgres, S3Server() as store:
        made = ByHand(folder, postgres, store)
        first_start_of(postgres, made)
        yield made


def first_start_of(postgres: PostgresServer, made: ByHand) -> None:
    """What the image of PostgreSQL does on an empty volume: a superuser, its database, our script, passwords."""
    owner = (made.secrets / "database_owner").read_text()
    with psycopg.connect(postgres.url.replace("+psycopg", ""), autocommit=True) as admin:
        admin.execute(f"CREATE ROLE farm SUPERUSER LOGIN PASSWORD '{owner}'".encode())
        admin.execute(b"CREATE DATABASE farm OWNER farm")
    programs = shutil.which("psql")
    folders = [folder for folder in (postgres_from_path(), postgres_from_wheel()) if folder]
    psql = next((folder / "psql" for folder in folders if (folder / "psql").exists()), programs)
    assert psql is not None, "the PostgreSQL that runs the tests has no psql"
    made._program("psql", f'exec {shlex.quote(str(psql))} "$@"')
    environment = {**made.environment("postgres"), "PGHOST": "127.0.0.1", "PGPORT": str(postgres.port)}
    subprocess.run([DEPLOY / "postgres" / "logins.sh"], env=environment, check=True, timeout=PATIENCE_S)
    rules = postgres.folder / "data" / "pg_hba.conf"
    rules.write_text(
        "local all all trust\nhost all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
    )
    postgres.restart()


def test_the_fleet_of_the_file_builds_a_model_and_says_so_to_prometheus(by_hand: ByHand) -> None:
    running = {"redis": by_hand.start("redis")}
    try:
        wait_until(lambda: by_hand.is_healthy("redis"))
        for step in STEPS:
            for _ in range(2):  # compose runs them again at every start
                ended = by_hand.start(step).end()
                assert ended.code == 0, f"{step}: {ended}"
        assert stat.S_IMODE((by_hand._volume("keys") / "signing.key").stat().st_mode) == 0o600

        running |= {name: by_hand.start(name) for name in ("sweeper", "worker-cpu", "metrics")}
        for name in ("sweeper", "worker-cpu", "metrics"):
            wait_until(lambda name=name: by_hand.is_healthy(name))
        farm = by_hand.farm()
        (worker,) = farm.json("workers")
        assert (worker["name"].startswith("cpu"), worker["state"]) == (True, "live")

        path = models.save(models.dense(batch=1), farm.folder / "dense.onnx")
        farm.run("submit", path, "--spec", fast_spec(farm.folder), "--gpu", "cpu", "--wait")
        farm.run("fetch", "dense", "-o", farm.folder / "dense.engine")
        (engine,) = farm.json("engines")
        assert (farm.folder / "dense.engine").stat().st_size == engine["size_bytes"]

        with urllib.request.urlopen(f"http://127.0.0.1:{by_hand.metrics_port}/metrics", timeout=30) as answer:
            assert b"farm_up 1.0" in answer.read()
        # As docs/operations.md has it: the operator's commands with the owner's login, and with no other.
        (cpu,) = [worker["name"] for worker in farm.json("workers")]
        for words in (["worker", "drain", cpu], ["worker", "resume", cpu], ["gc", "--dry-run"]):
            ended = by_hand.start("migrate", ["farm", *words]).end()
            assert ended.code == 0, str(ended)
        assert "permission denied" in farm.refused("worker", "drain", cpu, code=6)
        ends = {}
        for name, service in reversed(running.items()):
            ends[name] = ended = service.stop(signal.SIGTERM)
            assert ended.code == 0, str(ended)
            assert "Traceback" not in ended.err
        for service in ("sweeper", "worker-cpu", "metrics"):
            documents = [json.loads(line) for line in ends[service].err.splitlines()]
            assert all({"time", "level", "message", "worker"} <= document.keys() for document in documents), (
                service
            )
        (served,) = [
            d for d in map(json.loads, ends["worker-cpu"].err.splitlines()) if "serves" in d["message"]
        ]
        assert served["worker"] == worker["id"]
        assert by_hand.leaks() == []
    finally:
        for service in running.values():
            service.kill()


def test_secrets_are_made_once(tmp_path: Path) -> None:
    def made() -> dict[str, str]:
        subprocess.run([DEPLOY / "make-secrets.sh", tmp_path / "s"], check=True, stdout=subprocess.DEVNULL)
        return {path.name: path.read_text() for path in (tmp_path / "s").iterdir()}

    first = made()
    assert first == made()
    assert first.keys() == COMPOSE["secrets"].keys()
    assert len(set(first.values())) == len(first)
    assert all(len(value) >= 32 for value in first.values())
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o700
