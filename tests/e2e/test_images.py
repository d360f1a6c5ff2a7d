"""The images of docker-compose.yml, as far as they can be looked at without building them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

from tests.e2e.compose_file import DEPLOY, GPU_WORKERS, SERVICES
from tests.e2e.driver import ROOT

if TYPE_CHECKING:
    from pathlib import Path

by_service = pytest.mark.parametrize("name", SERVICES)
DOCKERFILES = sorted((DEPLOY / "farm").glob("*Dockerfile"))
by_dockerfile = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
TENSORRT_PYTHON = "/opt/tensorrt/bin/python"


def instructions(path: Path) -> list[tuple[str, str]]:
    """Of a Dockerfile every instruction with its words; comments and continued lines are taken out."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    text = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [
        (line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line.strip()
    ]


def is_sent(name: str) -> bool:
    """Whether a file of the tree gets into a build, by .dockerignore's rules: the last line that fits decides."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        rule = line.strip().removeprefix("!")
        if not rule or rule.startswith("#"):
            continue
        pattern = re.escape(rule).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
        if re.fullmatch(f"{pattern}(/.*)?", name):
            sent = line.startswith("!")
    return sent


@by_dockerfile
def test_instructions_are_those_that_docker_knows_and_begin_from_an_image_of_a_version(path: Path) -> None:
    found = instructions(path)
    known = {"ARG", "FROM", "RUN", "COPY", "ENV", "USER", "WORKDIR", "CMD"}
    assert {name for name, _ in found} <= known
    defaults = dict(words.split("=", 1) for name, words in found if name == "ARG")
    images = [words for name, words in found if name == "FROM"]
    images += [
        word.removeprefix("--from=")
        for n, w in found
        if n == "COPY"
        for word in w.split()
        if "--from" in word
    ]
    for image in images:
        filled = re.sub(r"\$\{(\w+)\}", lambda match: defaults[match[1]], image)
        assert re.search(r":[\w.-]*\d", filled), filled
    runs = [words for name, words in found if name in ("RUN", "CMD", "ENV")]
    used = {name for words in runs for name in re.findall(r"\$\{?([A-Z]+)\}?", words)}
    assert used <= {*defaults, "PATH"}, "every variable has a default"
    assert ("USER", "farm") in found, "nobody needs root"


@by_dockerfile
def test_shell_code_of_an_image_is_correct(path: Path) -> None:
    for name, words in instructions(path):
        if name == "RUN":
            subprocess.run(["/bin/sh", "-n", "-c", words], check=True)
        if name == "CMD":
            assert shutil.which(json.loads(words)[0]) or json.loads(words)[0] == "farm"


def test_all_that_is_installed_gets_into_a_build_and_nothing_else_does() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    named = ["pyproject.toml", project["project"]["readme"], "LICENSE"]
    packages = [
        pattern.split("*")[0].rstrip(".")
        for pattern in project["tool"]["setuptools"]["packages"]["find"]["include"]
    ]
    parts = {*packages, "deploy"}
    wanted = [
        str(path.relative_to(ROOT)) for part in parts for path in (ROOT / part).rglob("*") if path.is_file()
    ]
    wanted = [name for name in [*named, *wanted] if "__pycache__" not in name]
    assert parts == {"farm", "cli", "workers", "migrations", "deploy"}
    assert all((ROOT / name).is_file() for name in named)
    assert [name for name in wanted if not is_sent(name)] == []
    others = [path.name for path in ROOT.iterdir() if path.name not in {*parts, *named}]
    assert [name for name in others if is_sent(name)] == []
    assert not any(
        map(is_sent, ("secrets/broker", "secrets/store", ".git/config", ".env", "farm/__pycache__/x.pyc"))
    )


@pytest.mark.parametrize("name", GPU_WORKERS)
def test_what_pip_is_to_install_for_a_tensorrt_is_of_one_cuda(name: str) -> None:
    words = SERVICES[name]["build"]["args"]
    tensorrt, bindings = Requirement(words["TENSORRT"]), Requirement(words["BINDINGS"])
    cuda = re.match(r"(\d+)\.\d+\.\d+-(cudnn8-)?devel-ubuntu22\.04$", words["CUDA"])
    assert cuda, "devel: PyCUDA is compiled; 22.04: its Python is 3.10, which the child needs at least"
    assert str(bindings.specifier) == f"=={cuda[1]}.*"
    assert bindings.name == "cuda-bindings"
    assert tensorrt.name in ("tensorrt", f"tensorrt-cu{cuda[1]}")
    assert SERVICES[name]["image"].split(":trt")[1].split(".")[0] in str(tensorrt.specifier)


def test_a_gpu_workers_interpreter_is_the_one_that_its_image_makes() -> None:
    image = {path.name: path for path in DOCKERFILES}["worker.Dockerfile"]
    made = re.findall(r"python3 -m venv (\S+)", image.read_text())
    assert [f"{folder}/bin/python" for folder in made] == [TENSORRT_PYTHON]
    for name in GPU_WORKERS:
        assert SERVICES[name]["command"][-1] == TENSORRT_PYTHON
    (farms,) = re.findall(r"ENV PATH=(\S+):\$PATH", image.read_text())
    assert f"--python {farms}/python" in image.read_text(), "`farm` is found in the farm's own environment"


@by_service
def test_files_of_an_image_that_a_service_names_are_in_it(name: str) -> None:
    service = SERVICES[name]
    words = [
        *service.get("command", []),
        *service.get("entrypoint", []),
        *service.get("healthcheck", {}).get("test", []),
    ]
    for word in words:
        if word.startswith("/deploy/"):
            assert (ROOT / word.removeprefix("/")).is_file()
            assert is_sent(word.removeprefix("/")) or "./deploy" in json.dumps(service["volumes"])


def test_workers_that_are_told_apart_by_their_names_have_different_ones() -> None:
    names = [SERVICES[name]["hostname"] for name in ("worker-cpu", *GPU_WORKERS)]
    assert len(set(names)) == len(names)
    for name in GPU_WORKERS:
        # A worker is called after its host and its device.
        assert SERVICES[name]["healthcheck"]["test"][-1] == SERVICES[name]["hostname"]
