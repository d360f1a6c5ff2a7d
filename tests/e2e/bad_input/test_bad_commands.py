"""A command that means nothing: the right exit code, for people and for programs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.driver import FarmCommand


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("frobnicate", 2, "there is no command 'frobnicate'"),
        ("sumbit x.onnx", 2, "Did you mean submit?"),
        ("submit --batchs 1", 2, "No such option"),
        ("status s-nothing", 3, "there is no submission 's-nothing'"),
        ("watch s-nothing", 3, "there is no submission 's-nothing'"),
        ("watch", 3, "nothing was submitted yet"),
        ("logs j-nothing", 3, "there is no job 'j-nothing'"),
        ("cancel j-nothing", 3, "there is no job 'j-nothing'"),
        ("cancel s-nothing", 3, "there is no submission 's-nothing'"),
        ("retry j-nothing", 3, "there is no job 'j-nothing'"),
        ("engines nothing", 3, "no model is named 'nothing'"),
        ("fetch nothing", 3, "no model is named 'nothing'"),
        ("history nothing", 3, "no model is named 'nothing'"),
        ("up --device GPU-7", 2, "this machine has no device 'GPU-7'"),
        ("worker --device gpu", 2, "this machine has no device 'gpu'"),
        ("up --toolchain-python /no/such/python", 2, "does not exist"),
        ("up --toolchain-python /bin/true", 2, "/bin/true can not run the farm's child"),
        ("submit model.onnx --tag team", 2, "'team' is not NAME=VALUE"),
        ("submit model.onnx --set =4", 2, "'=4' is not NAME=VALUE"),
        ("history x --since yesterday", 3, "no model is named 'x'"),
        ("db upgrade 9999", 4, "9999"),
        ("completion tcsh", 2, "'tcsh' is not one of"),
    ],
)  # fmt: skip
def test_a_command_that_means_nothing(farm: FarmCommand, words: str, code: int, message: str) -> None:
    ended = farm.run(*words.split(), code=code)
    assert message in ended.err
    assert not farm.has_anything()


@pytest.mark.parametrize("words", ["status", "engines", "models", "devices", "toolchains", "workers", "fetch net", "history net", "watch", "logs j-1", "cancel j-1", "retry j-1"])  # fmt: skip
def test_where_there_is_no_farm_nothing_is_made(new_farm: FarmCommand, words: str) -> None:
    said = new_farm.refused(*words.split(), code=3)
    assert f"there is no farm in {new_farm.home}" in said
    assert "hint:  `farm up` or `farm submit --local` makes one" in said
    assert not new_farm.home.exists()


def test_errors_for_programs_are_documents(farm: FarmCommand) -> None:
    import json

    ended = farm.run("fetch", "nothing", "--json", code=3)
    assert ended.out == ""
    assert json.loads(ended.err) == {
        "error": "NotFoundError",
        "message": "no model is named 'nothing'",
        "hint": json.loads(ended.err)["hint"],
        "exit_code": 3,
    }


def test_a_bug_is_one_line_and_its_trace_is_kept(farm: FarmCommand) -> None:
    # A file in place of the package that every command needs: no failure that the farm could foresee.
    (farm.folder / "broken").mkdir()
    (farm.folder / "broken" / "sqlalchemy.py").write_text("raise RuntimeError('boom')\n")
    path = f"{farm.folder / 'broken'}{os.pathsep}{farm.environment['PYTHONPATH']}"
    said = farm.refused("status", code=1, PYTHONPATH=path, TMPDIR=str(farm.folder))
    assert said.startswith("error: RuntimeError: boom\nhint:  This is a bug of the farm")
    assert "Traceback" in Path(said.rpartition(" ")[2]).read_text()
    debug = farm.start("--debug", "status", PYTHONPATH=path).end()
    assert "Traceback" in debug.err
