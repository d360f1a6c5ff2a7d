"""Which exporter writes which operator set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from farm.domain.errors import InvalidSpecError
from workers.export.opsets import Way, ways
from workers.export.request import Exporter, ExportRequest
from workers.export.sources import Source, SourceKind
from workers.toolchains.trt_release import max_opset_of

FACTORY = ExportRequest(Source(SourceKind.FACTORY, "nets:net", "nets", "net"), Path("net.onnx"))
PROGRAM = replace(FACTORY, source=Source(SourceKind.PROGRAM, "net.pt2", "net.pt2"))
SCRIPT = replace(FACTORY, source=Source(SourceKind.SCRIPT, "net.ts", "net.ts"))


def plain(request: ExportRequest) -> list[tuple[Exporter, int, int]]:
    """Exporter, opset of the file, and opset that the exporter writes."""
    return [(way.exporter, way.opset, way.written_opset) for way in ways(request)]


def test_the_dynamo_exporter_is_the_usual_one() -> None:
    assert ways(FACTORY) == (Way(Exporter.DYNAMO, 20),)


def test_a_target_that_reads_less_limits_the_opset() -> None:
    assert plain(replace(FACTORY, max_opset=19, limited_by="tensorrt 9")) == [(Exporter.DYNAMO, 19, 19)]


def test_tensorrt_8_gets_the_legacy_exporter_first_and_a_converted_file_else() -> None:
    found = ways(replace(FACTORY, max_opset=17, limited_by="tensorrt 8.6.0"))
    assert [(way.exporter, way.opset, way.written_opset) for way in found] == [
        (Exporter.LEGACY, 17, 17),
        (Exporter.DYNAMO, 17, 18),
    ]
    assert "tensorrt 8.6.0 reads opset 17" in found[0].why


def test_a_program_is_never_traced() -> None:
    assert plain(replace(PROGRAM, max_opset=17, limited_by="tensorrt 8.6.0")) == [(Exporter.DYNAMO, 17, 18)]


def test_torchscript_has_the_legacy_exporter_alone() -> None:
    assert plain(SCRIPT) == [(Exporter.LEGACY, 17, 17)]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (replace(SCRIPT, exporter=Exporter.DYNAMO), "takes no TorchScript"),
        (replace(PROGRAM, exporter=Exporter.LEGACY), r"takes no \.pt2"),
        (
            replace(FACTORY, opset=18, max_opset=17, limited_by="tensorrt 8.6.0"),
            "newer than what tensorrt 8.6.0",
        ),
        (replace(FACTORY, exporter=Exporter.LEGACY, opset=21), "opset 9 to 20, not 21"),
        (replace(FACTORY, opset=99), "at most, not 99"),
        (replace(PROGRAM, opset=9), "opset 15 and later, not 9"),
    ],
)
def test_what_contradicts_itself_is_refused(request_: ExportRequest, words: str) -> None:
    with pytest.raises(InvalidSpecError, match=words):
        ways(request_)


@pytest.mark.parametrize(("version", "opset"), [((8, 6), 17), ((8, 6, 0), 17), ((8,), 17), ((7, 2), 0)])
def test_what_a_release_of_tensorrt_reads_is_known_without_it(version: tuple[int, ...], opset: int) -> None:
    assert max_opset_of(version) == opset
