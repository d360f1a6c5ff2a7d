"""What the engine inspector says is written as it is, and no build fails because of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.layers.inspector_texts import detailed_8
from workers.toolchains.trt_layers import write_layers

if TYPE_CHECKING:
    from pathlib import Path

TRT = SimpleNamespace(LayerInformationFormat=SimpleNamespace(JSON="JSON"))


def an_engine(says: Any) -> Any:
    """An engine whose inspector says something, or raises it."""

    def tell(wanted: str) -> Any:
        assert wanted == "JSON"
        if isinstance(says, Exception):
            raise says
        return says

    return SimpleNamespace(create_engine_inspector=lambda: SimpleNamespace(get_engine_information=tell))


@pytest.mark.parametrize("text", [detailed_8(), "no JSON \x1e at all", '{"Layers": [nan,]}', "é" * (1 << 20)])
def test_the_text_is_kept_as_it_is_however_long(tmp_path: Path, text: str) -> None:
    write_layers(TRT, an_engine(text), tmp_path / "layers.json")
    assert (tmp_path / "layers.json").read_bytes() == text.encode()


@pytest.mark.parametrize("says", ["", None], ids=["an empty text", "nothing"])
def test_where_it_says_nothing_nothing_is_written(
    tmp_path: Path, says: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    write_layers(TRT, an_engine(says), tmp_path / "layers.json")
    assert not (tmp_path / "layers.json").exists()
    assert "says nothing" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        RuntimeError("gone"),
        TypeError("null"),
    ],
)
def test_whatever_goes_wrong_is_said_in_the_log_and_nothing_more(
    tmp_path: Path, error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    write_layers(TRT, an_engine(error), tmp_path / "layers.json")
    assert not (tmp_path / "layers.json").exists()
    assert type(error).__name__ in capsys.readouterr().err


def test_names_that_are_no_unicode_are_written_with_marks(tmp_path: Path) -> None:
    write_layers(TRT, an_engine('{"Layers": ["conv\udcff"]}'), tmp_path / "layers.json")
    assert (tmp_path / "layers.json").read_text() == '{"Layers": ["conv?"]}'


def test_an_engine_without_an_inspector_is_an_engine_all_the_same(tmp_path: Path) -> None:
    write_layers(TRT, SimpleNamespace(), tmp_path / "layers.json")
    assert not (tmp_path / "layers.json").exists()
