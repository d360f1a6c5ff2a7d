"""Every command: it has help, an example, `--json` and a place in the README, and costs nothing to list."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import click
import pytest

from cli.main import COMMANDS
from cli.main import farm as root
from tests.e2e.driver import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator


def _commands() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(root)
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            for inner in command.list_commands(context):
                found = command.get_command(context, inner)
                assert found is not None
                yield f"{name} {inner}", found
        else:
            yield name, command


EVERY = dict(_commands())


@pytest.mark.parametrize("name", EVERY)
def test_a_command_has_help_and_an_example(name: str) -> None:
    text = EVERY[name].help or ""
    first = text.strip().splitlines()[0]
    assert first.endswith((".", ":")) or len(first) > 20
    block = text.partition("\b")[2]
    assert re.search(rf"^\s*(\S+=\S+ .*)?farm {name}\b|^\s+farm {name}\b", block, re.MULTILINE), "an example"


@pytest.mark.parametrize("name", EVERY)
def test_every_option_is_explained(name: str) -> None:
    for parameter in EVERY[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


@pytest.mark.parametrize("name", EVERY)
def test_a_command_prints_json_too(name: str) -> None:
    has_json = any("--json" in parameter.opts for parameter in EVERY[name].params)
    assert has_json


@pytest.mark.parametrize("name", EVERY)
def test_a_command_is_in_the_readme(name: str) -> None:
    readme = ROOT / "README.md"
    if not readme.exists():
        pytest.skip("there is no README yet")
    group, _, inner = name.partition(" ")
    assert re.search(
        rf"\bfarm (--home \S+ )?{group}\b.*\b{inner or group}\b|\bfarm (--home \S+ )?{name}\b",
        readme.read_text(),
    )


def test_the_line_in_the_list_is_the_commands_own() -> None:
    context = click.Context(root)
    for name, (_, line) in COMMANDS.items():
        command = root.get_command(context, name)
        assert command is not None
        assert command.get_short_help_str(200) == line


def test_help_is_printed_by_every_command(tmp_path: object) -> None:
    for name in ("", *EVERY):
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *name.split(), "--help"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.startswith(f"Usage: farm {name}".rstrip())
        assert done.stderr == ""
    assert all(name in _help() for name in COMMANDS)


def _help() -> str:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


def test_the_list_of_commands_loads_nothing_heavy() -> None:
    code = (
        "import json, sys\n"
        "from cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stderr.splitlines()[-1])}
    assert not loaded & {
        "sqlalchemy",
        "alembic",
        "celery",
        "kombu",
        "onnx",
        "onnxruntime",
        "rich",
        "numpy",
        "yaml",
    }


def test_the_list_of_commands_comes_at_once() -> None:
    def seconds() -> float:
        begin = time.perf_counter()
        _help()
        return time.perf_counter() - begin

    # The best of several: what other processes of the machine take is not the command's.
    assert min(seconds() for _ in range(5)) < 0.3
