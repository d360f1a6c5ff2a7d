"""Networks and refused nodes of TensorRT, per version, without TensorRT."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from farm.domain.errors import InvalidModelError
from tests.unit.trt.surface import log_for, surface
from workers.toolchains.trt_network import create_network, parse_model

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("version", "flags"), [("8.6.0", 1), ("10.16.1.11", 1), ("11.4.0.106", 0)])
def test_explicit_batch_is_asked_for_only_where_it_has_that_name(version: str, flags: int) -> None:
    trt = surface(version)
    asked = []
    builder = SimpleNamespace(create_network=lambda given: asked.append(given) or "network")
    create_network(trt, builder, log_for(trt))
    assert asked == [flags]


def test_a_refused_node_is_named_from_the_log_before_10(tmp_path: Path) -> None:
    trt = surface("8.6.0")
    log = log_for(trt)
    error = SimpleNamespace(
        code=lambda: "ErrorCode.UNSUPPORTED_NODE",
        desc=lambda: 'Assertion failed: creator && "Plugin not found"',
        node=lambda: 3,
    )

    def parse(path: str) -> bool:
        log.write("E", '[ModelImporter.cpp:726] While parsing node number 3 [NoSuchOp -> "r1"]:')
        log.write(
            "E", '[ModelImporter.cpp:728] input: "c1"\noutput: "r1"\nname: "mystery"\nop_type: "NoSuchOp"\n'
        )
        return False

    trt.OnnxParser = lambda network, logger: SimpleNamespace(
        parse_from_file=parse, num_errors=1, get_error=lambda index: error
    )
    with pytest.raises(InvalidModelError, match=r"operator NoSuchOp \(node 'mystery'\)") as caught:
        parse_model(trt, SimpleNamespace(), log, tmp_path / "m.onnx")
    assert "opset_version=17" in caught.value.hint
