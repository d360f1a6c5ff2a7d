"""`farm report` on the CPU, as a user runs it: every form, every filter, every refusal."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from tests.e2e import models
from tests.e2e.driver import FarmCommand, fast_spec

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> FarmCommand:
    """A farm with a model in FP32, twice, at two batch sizes, and with another model in one batch size."""
    made = FarmCommand(tmp_path_factory.mktemp("reported"))
    words = ("--spec", fast_spec(made.folder), "--gpu", "cpu", "--toolchain", "onnxruntime", "--local")
    dense = models.save(models.dense(), made.folder / "dense.onnx")
    made.run("submit", dense, "--batch", "1,4", *words, "--tag", "team=vision")
    made.run("submit", dense, "--batch", "1,4", *words, "--salt", "again")
    fixed = models.save(models.dense(batch=2), made.folder / "fixed.onnx")
    made.run("submit", fixed, *words)
    return made


# Times of a machine that does something else meanwhile may be tainted: they are asked for wherever one is looked at.
def report(farm: FarmCommand, *words: object) -> list[Any]:
    found: list[Any] = farm.json("report", "--tainted", *words)
    return found


def numbers(found: list[Any]) -> list[int]:
    return [line["engine"] for model in found for line in model["lines"]]


def test_all_models_are_reported_each_with_its_engines(farm: FarmCommand) -> None:
    found = report(farm)
    assert [(model["model"], len(model["lines"])) for model in found] == [("dense", 2), ("fixed", 1)]
    dense = found[0]
    assert [line["label"].startswith("ort-cpu (onnxruntime ") for line in dense["lines"]] == [True, True]
    assert "salt again" in dense["lines"][1]["label"]
    for line in dense["lines"]:
        assert [figure["batch"] for figure in line["figures"]] == [1, 4]
        for figure in line["figures"]:
            assert figure["median_ms"] > 0
            assert figure["throughput_per_s"] > 0
            assert figure["speed_up"] > 0
            assert figure["run"] > 0
        assert line["accuracy"]["cosine"] > 0.999
        assert line["build_s"] > 0
    # Against the first baseline.
    assert [figure["speed_up"] for figure in dense["lines"][0]["figures"]] == [1.0, 1.0]


def test_figures_that_something_disturbed_are_left_out_and_counted(farm: FarmCommand) -> None:
    for everything, clean in zip(report(farm), farm.json("report"), strict=True):
        for line, own in zip(everything["lines"], clean["lines"], strict=True):
            assert own["figures"] == [] or not any(figure["taints"] for figure in own["figures"])
            tainted = [figure for figure in line["figures"] if figure["taints"]]
            assert own["tainted_left_out"] == len(tainted)
            assert len(own["figures"]) == len(line["figures"]) - len(tainted)


def test_the_forms_tell_the_same(farm: FarmCommand) -> None:
    (found,) = report(farm, "dense")
    rows = list(csv.DictReader(io.StringIO(farm.run("report", "dense", "--tainted", "--csv").out)))
    medians = [figure["median_ms"] for line in found["lines"] for figure in line["figures"]]
    assert [float(row["median_ms"]) for row in rows] == medians
    markdown = farm.run("report", "dense", "--tainted", "--markdown").out
    printed = farm.run("report", "dense", "--tainted").out
    for title in ("Milliseconds per batch", "Inferences per second", "Speed-up", "Accuracy", "Every figure"):
        assert f"### {title}\n" in markdown
        assert f"dense@1: {title}\n" in printed
    for median in medians:
        text = f"{median:.3f}"
        assert text in markdown
        assert text in printed


def test_runtime_and_rate_for_a_number_of_samples(farm: FarmCommand) -> None:
    (found,) = report(farm, "dense", "--samples", "1000,10000", "--batch", "4")
    for line in found["lines"]:
        (figure,) = line["figures"]
        for count in (1000, 10_000):
            told = figure["samples"][str(count)]
            assert told["runtime_s"] == pytest.approx(count / figure["throughput_per_s"])
            assert told["fps"] == pytest.approx(figure["throughput_per_s"])
    said = farm.run("report", "dense", "--tainted", "--samples", "1000", "--markdown").out
    assert "Computed from the measured throughput, not run" in said


def test_engines_are_chosen_by_their_words(farm: FarmCommand) -> None:
    first, second = numbers(report(farm, "dense"))
    assert numbers(report(farm, "dense", "--tag", "team=vision")) == [first]
    assert numbers(report(farm, "--tag", "team=none")) == []
    assert numbers(report(farm, "dense@1", "--gpu", "cpu", "--precision", "fp32")) == [first, second]
    assert numbers(report(farm, "dense", "--toolchain", "onnxruntime", "--since", "1h")) == [first, second]
    assert numbers(report(farm, "--precision", "fp16")) == []
    (found,) = report(farm, "dense", "--batch", "4", "--than", second)
    assert [line["than_engine"] for line in found["lines"]] == [second, second]
    assert [figure["batch"] for line in found["lines"] for figure in line["figures"]] == [4, 4]
    (old,) = report(farm, "dense", "--since", "2999-01-01")
    assert [line["figures"] for line in old["lines"]] == [[], []]


def test_a_method_that_nothing_was_timed_by_shows_dashes_and_says_so(farm: FarmCommand) -> None:
    said = farm.run("report", "fixed", "--tainted", "--method", "cuda-graph").out
    assert re.search(r"Not timed by cuda-graph, but by plain", said)


def test_charts_and_the_page_are_written(farm: FarmCommand, tmp_path: Path) -> None:
    page, folder = tmp_path / "report.html", tmp_path / "charts"
    ended = farm.run("report", "dense", "--tainted", "--html", page, "--png", folder)
    assert (ended.out, ended.err) == (
        "",
        f"page written to {page}\n4 charts written to {folder}\n",
    )
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    # Another process, whose hashes are others, writes the same.
    again = tmp_path / "again.html"
    farm.run("report", "dense", "--tainted", "--html", again)
    assert again.read_bytes() == page.read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == [
        f"dense-1-{kind}.png" for kind in ("build", "frontier", "latency", "throughput")
    ]
    for path in folder.iterdir():
        with Image.open(path) as picture:
            assert picture.width > 900
            # Paper, ink and a line at the least.
            colours = picture.convert("RGB").getcolors(maxcolors=1 << 24)
            assert len(colours or []) > 20


def test_the_page_is_written_beside_what_is_printed(farm: FarmCommand, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert farm.json("report", "dense", "--tainted", "--html", page)[0]["model"] == "dense"
    assert page.exists()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--markdown", "--csv"], 2, "one of --markdown, --csv and --json"),
        (["--batch", "0"], 2, "--batch takes whole numbers from 1 on"),
        (["--samples", "many"], 2, "--samples takes whole numbers from 1 on"),
        (["--method", "graph"], 2, "no method of timing is called 'graph'"),
        (["--since", "yesterday"], 2, "not a time: --since yesterday"),
        (["--than", "torch-apm"], 2, "torch-amp"),
        (["--than", "torch-amp"], 3, "no engine of this report is meant by --than torch-amp"),
        (["--than", "fp32"], 2, "--than fp32 means 2 engines of dense@1"),
        (["--gpu", "h300"], 2, "h300"),
        (["--precision", "fp61"], 2, "fp61"),
        (["nothing"], 3, "nothing"),
        (["--html", "no/such/folder/report.html"], 2, "can not be written"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_makes_no_sense_is_refused(farm: FarmCommand, words: list[str], code: int, says: str) -> None:
    assert says in farm.refused("report", "--tainted", *words, code=code)


def test_a_farm_without_engines_has_no_report(farm: FarmCommand, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert "No filed engine matches" in farm.run("report", "--precision", "bf16", "--html", page).err
    assert not page.exists()
