"""What the engine inspector says is written as it is, and no build fails because of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.layers.inspector_texts import detailed_8
from workers.toolchains.trt_layers import write_layers

if TYPE_CHECKING:
    from pathlib import Path

TRT = SimpleNamespace(
    LayerInformationFormat=SimpleNamespace(JSON="JSON"), TensorIOMode=SimpleNamespace(INPUT=0, OUTPUT=1)
)


def an_engine(says: Any) -> Any:
    """An engine whose inspector says something, or raises it."""

    def tell(wanted: str) -> Any:
        assert wanted == "JSON"
        if isinstance(says, Exception):
            raise says
        return says

    return SimpleNamespace(
        create_engine_inspector=lambda: SimpleNamespace(get_engine_information=tell), num_io_tensors=0
    )


class _Dynamic:
    """An engine of an input `x` Nx3 and an output `y`, whose inspector tells at which shapes it looks."""

    num_io_tensors = 2

    def __init__(self) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.inspector = SimpleNamespace(
            execution_context=None,
            get_engine_information=lambda _form: (
                f"{self.inspector.execution_context is not None} {self.shapes}"
            ),
        )

    def get_tensor_name(self, index: int) -> str:
        return "xy"[index]

    def get_tensor_mode(self, name: str) -> int:
        return "xy".index(name)

    def get_tensor_shape(self, _name: str) -> list[int]:
        return [-1, 3]

    def get_tensor_profile_shape(self, _name: str, _profile: int) -> list[tuple[int, int]]:
        return [(1, 3), (8, 3), (16, 3)]

    def create_engine_inspector(self) -> Any:
        return self.inspector

    def create_execution_context(self) -> Any:
        return SimpleNamespace(set_input_shape=self.shapes.__setitem__)


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


def test_where_shapes_are_open_it_is_asked_at_the_tuned_ones(tmp_path: Path) -> None:
    # TensorRT 8.6 says "N/A due to dynamic shapes" of every format and type otherwise.
    write_layers(TRT, _Dynamic(), tmp_path / "layers.json")
    assert (tmp_path / "layers.json").read_text() == "True {'x': (8, 3)}"
