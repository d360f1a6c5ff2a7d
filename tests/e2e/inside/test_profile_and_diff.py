"""`farm profile` and `farm diff`: where the time goes, and what differs."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import jsonschema

from tests.unit.layers.test_layer_times import TRACE_SCHEMA

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.driver import FarmCommand

#: Stands for Nsight Systems, which is not installed where tests run.
NSYS = """#!/bin/sh
shift
while :; do
    case "$1" in
        --output=*) report="${1#--output=}"; shift ;;
        --*) shift ;;
        *) break ;;
    esac
done
"$@" && echo "a report" > "$report.nsys-rep"
"""


def test_a_profile_is_made_once_and_shown_at_once_from_then_on(
    two_engines: FarmCommand, tmp_path: Path
) -> None:
    trace = tmp_path / "trace.json"
    made = two_engines.run("profile", "2", "--batch", "4", "--local", "--chrome-trace", trace)
    assert re.search(
        r"^batch 4: \d+\.\d+ ms in \d layers, 100 iterations under ONNX Runtime$", made.out, re.MULTILINE
    )
    assert re.search(r"^\S+ +(MatMul|FusedMatMul|Relu|Gemm|FusedGemm) +\d+\.\d %", made.out, re.MULTILINE)
    assert "The whole engine, without a profiler:" in made.out
    document = json.loads(trace.read_text())
    jsonschema.validate(document, TRACE_SCHEMA)
    assert {event["cat"] for event in document["traceEvents"] if event["ph"] == "X"} == {"iteration", "layer"}
    # No worker runs any more.
    (profile,) = two_engines.json("profile", "2")["profiles"]
    assert (profile["batch"], profile["iterations"]) == (4, 100)
    assert abs(sum(layer["share"] for layer in profile["layers"]) - 1) < 1e-6


def test_without_a_worker_the_job_waits_and_says_how_to_go_on(two_engines: FarmCommand) -> None:
    ended = two_engines.run("profile", "1")
    assert re.search(r"job j-\S+ makes one", ended.out)
    assert "`farm profile 1` shows it" in ended.err
    again = two_engines.json("profile", "1")
    assert again["job"] in ended.out, "the job is shared"
    assert again["profiles"] is None


def test_another_batch_than_the_stored_one_is_profiled_anew(two_engines: FarmCommand) -> None:
    two_engines.run("profile", "2", "--batch", "4", "--local")
    assert two_engines.json("profile", "2", "--batch", "1")["profiles"] is None
    assert "outside the profile" in two_engines.refused("profile", "2", "--batch", "9", code=2)


def test_a_benchmark_that_profiled_counts_as_any_other(two_engines: FarmCommand) -> None:
    before = len(two_engines.json("history", "dense", "--tainted"))
    two_engines.run("profile", "2", "--batch", "4", "--local")
    assert len(two_engines.json("history", "dense", "--tainted")) == before + 1


def test_nsight_systems_is_refused_where_it_is_not_installed(two_engines: FarmCommand) -> None:
    ended = two_engines.run("profile", "2", "--nsys", "--local", code=5)
    assert "Nsight Systems is not installed on" in ended.out


def test_nsight_systems_leaves_a_report_and_its_run_stays_out_of_history(
    two_engines: FarmCommand, tmp_path: Path
) -> None:
    program = tmp_path / "bin" / "nsys"
    program.parent.mkdir()
    program.write_text(NSYS)
    program.chmod(0o755)
    before = two_engines.json("history", "dense")
    report = tmp_path / "out.nsys-rep"
    path = f"{program.parent}:{two_engines.environment['PATH']}"
    two_engines.run("profile", "2", "--nsys", "--local", "-o", report, PATH=path)
    assert report.read_text() == "a report\n"
    assert two_engines.json("history", "dense") == before
    # It is kept: another copy needs no worker.
    report.unlink()
    two_engines.run("profile", "2", "--nsys", "-o", report)
    assert report.read_text() == "a report\n"


def test_of_a_models_engines_the_one_is_meant_that_the_words_leave(
    two_engines: FarmCommand, filled_home: FarmCommand
) -> None:
    assert "2 engines of dense@1 are meant" in two_engines.refused("profile", "dense", "--on", "cpu", code=2)
    assert "unknown GPU 'l4'" in filled_home.refused("profile", "dense", "--on", "l4", code=2)
    assert filled_home.json("inspect", "dense", "--gpu", "cpu")["id"] == 1


def test_options_that_do_not_go_together_are_refused(two_engines: FarmCommand) -> None:
    assert "no Chrome trace" in two_engines.refused(
        "profile", "2", "--nsys", "--chrome-trace", "t.json", code=2
    )
    assert "--output is for" in two_engines.refused("profile", "2", "-o", "t.json", code=2)


def test_two_engines_differ_in_their_keys_first(two_engines: FarmCommand) -> None:
    ended = two_engines.run("diff", "2", "1")
    assert re.search(r"^builder_config.graph_optimization_level +DISABLE_ALL +–", ended.out, re.MULTILINE)
    assert "`farm profile 2` makes a profile" in ended.err
    document = two_engines.json("diff", "2", "1")
    assert document["key"] == [
        {"component": "builder_config.graph_optimization_level", "before": "DISABLE_ALL", "after": None}
    ]
    before = [name for change in document["layers"] for name in change["before"]]
    assert before == ["multiply", "activate"]


def test_the_words_for_a_target_hold_for_both_engines_of_a_model(two_engines: FarmCommand) -> None:
    assert "2 engines of dense@1 are meant" in two_engines.refused(
        "diff", "1", "dense", "--gpu", "cpu", code=2
    )
    for words in (("1", "dense"), ("dense", "1")):
        assert "no engine of dense@1 fits" in two_engines.refused(
            "diff", *words, "--gpu", "cpu", "--toolchain", "onnxruntime", "--precision", "fp16", code=3
        )


def test_an_engine_beside_itself_has_nothing_that_differs(two_engines: FarmCommand) -> None:
    out = two_engines.run("diff", "1", "1").out
    assert "Their keys are the same, and so are their bytes." in out
    assert "2 → 2 layers: 2 same" in out


def test_where_both_have_a_profile_layers_have_times(two_engines: FarmCommand) -> None:
    for number in ("1", "2"):
        two_engines.run("profile", number, "--batch", "4", "--local")
    document = two_engines.json("diff", "1", "2", "--batch", "4")
    assert document["batch"] == 4
    assert all(engine["total_ms"] > 0 for engine in document["engines"])
    assert any(change["before_ms"] for change in document["layers"])
    assert re.search(
        r"^batch 4: \S+ → \S+ ms in all layers", two_engines.run("diff", "1", "2").out, re.MULTILINE
    )
