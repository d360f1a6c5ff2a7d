"""What the MODEL argument means is known by its form alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from workers.export.sources import SourceKind, parse_source

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "kind", "place", "attribute", "name"),
    [
        ("nets:resnet", SourceKind.FACTORY, "nets", "resnet", "resnet"),
        ("pkg.nets:Models.resnet", SourceKind.FACTORY, "pkg.nets", "Models.resnet", "resnet"),
        ("folder/nets.py:resnet", SourceKind.FACTORY, "folder/nets.py", "resnet", "resnet"),
        ("/somewhere/pkg.nets:resnet", SourceKind.FACTORY, "/somewhere/pkg.nets", "resnet", "resnet"),
        ("models/net.pt2", SourceKind.PROGRAM, "models/net.pt2", "", "net"),
        ("net.ts", SourceKind.SCRIPT, "net.ts", "", "net"),
        ("net.PT", SourceKind.SCRIPT, "net.PT", "", "net"),
    ],
)
def test_pytorch_models_are_known(text: str, kind: SourceKind, place: str, attribute: str, name: str) -> None:
    source = parse_source(text)
    assert source is not None
    assert (source.kind, source.place, source.attribute, source.name) == (kind, place, attribute, name)


@pytest.mark.parametrize(
    "text", ["model.onnx", "folder/model.onnx", "model", "nets:", ":resnet", "nets:1x", "a b:c"]
)
def test_anything_else_is_none(text: str) -> None:
    assert parse_source(text) is None


def test_a_file_of_that_name_is_taken_for_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets:resnet").touch()
    assert parse_source("nets:resnet") is None
