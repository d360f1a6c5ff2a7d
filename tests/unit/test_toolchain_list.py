"""`toolchains.toml`: what it may say, and that what it may not say is refused with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from farm.domain.errors import InvalidRequestError
from workers.toolchain_list import ListedInterpreter, read_toolchain_list


def written(folder: Path, text: str) -> Path:
    """The file."""
    path = folder / "toolchains.toml"
    path.write_text(text)
    return path


def test_interpreters_are_read_in_their_order(tmp_path: Path) -> None:
    text = """
    [[interpreter]]
    python = "/opt/trt86/bin/python"
    name = "TensorRT 8.6"
    devices = ["0", "GPU-4f1c"]
    environment = { LD_LIBRARY_PATH = "/opt/trt86/lib" }

    [[interpreter]]
    python = "venv/bin/python"
    """
    assert read_toolchain_list(written(tmp_path, text)) == [
        ListedInterpreter(
            Path("/opt/trt86/bin/python"),
            "TensorRT 8.6",
            ("0", "GPU-4f1c"),
            {"LD_LIBRARY_PATH": "/opt/trt86/lib"},
        ),
        ListedInterpreter(tmp_path / "venv/bin/python"),
    ]


def test_an_empty_list_is_a_list(tmp_path: Path) -> None:
    assert read_toolchain_list(written(tmp_path, "")) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("interpreter = 1", "has one 'interpreter' instead of a list"),
        ("interpreters = []", "has 'interpreters'"),
        ("[[interpreter]]\n", "interpreter 1 has no python"),
        ("[[interpreter]]\npython = 3", "interpreter 1 has no python"),
        ('[[interpreter]]\npython = "p"\npyhton = "q"', "interpreter 1 has 'pyhton'"),
        ('[[interpreter]]\npython = "p"\ndevices = "gpu"', "devices must be a list of texts"),
        ('[[interpreter]]\npython = "p"\nname = 8', "name must be a text"),
        ('[[interpreter]]\npython = "p"\nenvironment = { A = 1 }', "environment must be a table of texts"),
        ('[[interpreter]]\npython = "p"\nenvironment = { "A B" = "1" }', "'A B' is no name of a variable"),
        ('[[interpreter]]\npython = "p"\nenvironment = { FARM_HOME = "x" }', "FARM_HOME is set by the farm"),
        (
            '[[interpreter]]\npython = "p"\nenvironment = { PYTHONPATH = "x" }',
            "PYTHONPATH is set by the farm",
        ),
        ('[[interpreter]]\npython = "~nobody-has-this-name/python"', "there is no such user"),
        ('[[interpreter]]\npython = "a\\u0000b"', "python has a character that no file has"),
        (
            '[[interpreter]]\npython = "p"\nenvironment = { A = "\\u0000" }',
            "A has a character that no variable can hold",
        ),
        ("[[interpreter", "is no TOML"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_toolchain_list(written(tmp_path, text))
    assert words in caught.value.message
    assert str(tmp_path / "toolchains.toml") in caught.value.message


def test_a_file_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="can not be read"):
        read_toolchain_list(tmp_path / "nowhere.toml")
