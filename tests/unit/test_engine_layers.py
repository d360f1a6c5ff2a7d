"""Where an engine's layers are told; and where nothing is, why."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from cli.engine_layers import layer_text, layers_of
from tests.behaviours.given import given_a_farm, given_a_finished_job
from tests.factories import a_build_spec, a_target, a_toolchain_id, an_outcome
from tests.fakes import InMemoryArtifactStore, InMemoryDatabase
from tests.unit.layers.inspector_texts import detailed_8, names_8

if TYPE_CHECKING:
    from farm.domain.filing import Engine


@pytest.fixture
def farm() -> Any:
    """A farm in memory, with a worker and a model."""
    database = InMemoryDatabase()
    given_a_farm(database)
    return SimpleNamespace(database=database, store=InMemoryArtifactStore())


def filed(farm: Any, **changes: Any) -> Engine:
    """An engine of TensorRT 8.6."""
    _, number = given_a_finished_job(farm.database, outcome=an_outcome(**changes))
    with farm.database.reading() as transaction:
        engine: Engine = transaction.engines.get(number)
    return engine


def test_what_the_inspector_said_is_read_from_the_store(farm: Any) -> None:
    engine = filed(farm, layer_information=farm.store.put_bytes(detailed_8().encode()))
    assert layer_text(farm, engine) == detailed_8()
    assert len(layers_of(farm, engine).layers) == 3


def test_bytes_that_are_no_unicode_spoil_their_name_alone(farm: Any) -> None:
    raw = names_8().encode().replace(b"Conv_c0", b"Conv\xff")
    found = layers_of(farm, filed(farm, layer_information=farm.store.put_bytes(raw)))
    assert [layer.name for layer in found.layers][1] == "Conv\ufffd + Relu_r0"


def test_engines_of_earlier_releases_have_it_in_their_row(farm: Any) -> None:
    build = {"precision_note": "", "details": {"layer_information": json.loads(detailed_8())}}
    assert len(layers_of(farm, filed(farm, build=build)).layers) == 3


def test_an_engine_of_tensorrt_that_told_nothing_says_where_to_look(farm: Any) -> None:
    engine = filed(farm)
    found = layers_of(farm, engine)
    assert found.layers == ()
    assert f"farm logs {engine.job_id}" in found.note


def test_tensorrt_rtx_needs_a_gpu_to_tell(farm: Any) -> None:
    assert "needs a GPU" in layers_of(farm, of_toolchain(filed(farm), "tensorrt-rtx")).note


def test_a_toolchain_whose_engines_are_no_graphs_tells_nothing(farm: Any) -> None:
    engine = of_toolchain(filed(farm), "another")
    no_graph = SimpleNamespace(
        fetch=lambda _digest, path: path.write_bytes(b"bytes"), chunks=lambda _digest: iter([b""])
    )
    elsewhere: Any = SimpleNamespace(database=farm.database, store=no_graph)
    assert "another 1.0 tells nothing" in layers_of(elsewhere, engine).note


def test_of_a_retired_engine_its_layers_are_gone_where_they_were_in_its_bytes(farm: Any) -> None:
    engine = filed(farm)
    gone = replace(of_toolchain(engine, "onnxruntime"), retired_at=engine.created_at)
    assert "its bytes are gone" in layers_of(farm, gone).note


def of_toolchain(engine: Engine, name: str) -> Engine:
    """As if another toolchain had built it."""
    target = a_target(toolchain=a_toolchain_id(name, "1.0"))
    return replace(engine, spec=a_build_spec(target=target))
