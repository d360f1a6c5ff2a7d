"""The page of a report: complete in itself, the same for the same data, and readable without seeing the charts."""

from __future__ import annotations

import itertools
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from cli.report_charts import charts_of
from cli.report_drawing import plain_number, settings, svg_text
from cli.report_html import page
from cli.report_panels import MOST_LINES, panels_of
from cli.report_styles import style_of
from farm.domain.errors import ConflictError
from tests.factories import an_accuracy, an_output_accuracy
from tests.unit.reports.given import NAME, a_figure, a_report, a_run, a_usual_report, an_engine, many_lines


class Parsed(HTMLParser):
    """The elements of a page, in their order, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_the_page_is_the_same_for_the_same_data() -> None:
    assert page([a_usual_report()], (1000,)) == page([a_usual_report()], (1000,))


def test_nothing_is_fetched_from_anywhere() -> None:
    text = page([a_usual_report()])
    parsed = Parsed(text)
    assert not {"link", "img", "iframe", "object", "embed"} & {tag for tag, _ in parsed.elements}
    for tag, attributes in parsed.elements:
        assert "src" not in attributes, tag
        for name in ("href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
    assert not re.search(r"@import|url\((?!#)", text)
    policy = next(
        each for each in parsed.named("meta") if each.get("http-equiv") == "Content-Security-Policy"
    )
    assert (policy["content"] or "").startswith("default-src 'none';")


def test_ids_are_there_once_and_what_refers_to_them_finds_them() -> None:
    parsed = Parsed(page([a_usual_report(), a_usual_report()]))
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) > 10
    for _, attributes in parsed.elements:
        named = (attributes.get("aria-labelledby") or "").split()
        used = [(attributes.get(name) or "").removeprefix("#") for name in ("href", "xlink:href")]
        clip = re.findall(r"url\(#([^)]+)\)", attributes.get("clip-path") or "")
        assert {*named, *filter(None, used), *clip} <= set(ids)


def test_every_chart_has_a_title_a_description_and_its_figures_in_a_table_beside_it() -> None:
    text = page([a_usual_report()])
    pairs = re.findall(r'<div class="pair">.*?\n</div>\n', text, re.DOTALL)
    assert len(re.findall(r"<figure>", text)) == len(pairs) == 4
    for pair in pairs:
        assert re.search(
            r'<svg [^>]*role="img" aria-labelledby="(\S+)-title \1-desc"><title id="\1-title">\w', pair
        )
        assert re.search(r"<desc id=\S+>[^<]*(lines|engines)", pair)
        assert '<th scope="col"' in pair
        assert '<th scope="row"' in pair


def test_colours_are_the_pages_own_so_that_they_change_with_it() -> None:
    text = page([a_usual_report()])
    drawn = "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    assert not re.findall(r"(?:fill|stroke): #\w+", drawn)
    assert {f"--line-{number}" for number in range(3)} <= set(re.findall(r"--line-\d", drawn))
    defined = re.findall(r"(--[\w-]+):", text)
    for name in set(re.findall(r"var\((--[\w-]+)\)", text)):
        assert name in defined
    # On a light page and on a dark one.
    assert defined.count("--line-6") == 2


@pytest.mark.parametrize("lines", [3, 20])
def test_no_level_of_heading_is_left_out(lines: int) -> None:
    parsed = Parsed(page([many_lines(lines)]))
    levels = [int(tag[1]) for tag, _ in parsed.elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_letters_stay_letters() -> None:
    with settings():
        (latency, *_) = charts_of(panels_of(a_usual_report())[0])
        assert re.search(r"<text[^>]*>batch size</text>", svg_text(latency.drawing))


def test_names_of_users_are_text_and_never_markup_or_mathematics() -> None:
    odd = '<script>alert("x")</script> $x_1$ & more'
    report = a_report(
        an_engine(1, a_run(1, a_figure(8, 2.0)), salt=odd), an_engine(2), name=replace(NAME, name=odd)
    )
    parsed = Parsed(page([report]))
    assert len(parsed.named("script")) == 1
    assert parsed.text.count(odd) >= 3


def test_many_lines_are_drawn_in_parts_that_people_can_read() -> None:
    report = many_lines(60)
    panels = panels_of(report)  # type: ignore[arg-type]
    assert [len(panel.report.lines) for panel in panels] == [12, 12, 12, 4, 12, 8]
    assert max(len(panel.report.lines) for panel in panels) <= MOST_LINES
    assert len({panel.slug for panel in panels}) == len({panel.name for panel in panels}) == 6
    text = page([report])  # type: ignore[list-item]
    assert len(Parsed(text).named("figure")) == 24
    # One table has all of them.
    assert text.count('<th scope="row">cpu: onnxruntime 1.23.2 fp16') == 20 * (6 + 5)


def test_a_few_lines_are_one_chart_whatever_their_devices() -> None:
    assert [panel.name for panel in panels_of(many_lines(MOST_LINES))] == [""]  # type: ignore[arg-type]


def kinds(*engines: object) -> dict[str, str]:
    with settings():
        found = charts_of(panels_of(a_report(*engines))[0])  # type: ignore[arg-type]
        return {chart.kind: svg_text(chart.drawing) for chart in found}


def test_one_batch_size_is_bars_with_names() -> None:
    drawn = kinds(an_engine(1, a_run(1, a_figure(8, 2.0))))
    assert "tensorrt 8.6.0 fp16" in drawn["latency"]
    assert list(drawn) == ["latency", "throughput", "frontier", "build"]


def test_a_model_without_a_batch_has_charts_too() -> None:
    drawn = kinds(an_engine(1, a_run(1, a_figure(0, 2.0, shapes={"x": ()}))))
    assert "ms per batch at its shape" in drawn["frontier"]


def test_what_there_is_nothing_of_has_no_chart() -> None:
    assert list(kinds(an_engine(1))) == ["build"]
    assert "frontier" not in kinds(an_engine(1, a_run(1, a_figure(8, 2.0), accuracy=None)))


@pytest.mark.parametrize("snr_db", [999.0, 0.0, -12.5, 300.0])
def test_every_accuracy_has_its_place(snr_db: float) -> None:
    accuracy = an_accuracy(replace(an_output_accuracy(), snr_db=snr_db))
    drawn = kinds(
        an_engine(1, a_run(1, a_figure(8, 2.0), accuracy=accuracy)), an_engine(2, a_run(2, a_figure(8, 1e-4)))
    )
    assert (">exact<" in drawn["frontier"]) == (snr_db == 999.0)


def test_the_description_of_the_frontier_names_what_nothing_beats() -> None:
    with settings():
        charts = {chart.kind: chart for chart in charts_of(panels_of(a_usual_report())[0])}
    assert charts["frontier"].description == (
        "3 engines. Nothing is both faster and more accurate than: tensorrt 8.6.0 int8, calibrated (entropy), "
        "tensorrt 8.6.0 fp16."
    )
    assert charts["latency"].description.endswith(
        "Least at batch 32: 8.000 ms per batch (median of compute), tensorrt 8.6.0 fp16."
    )


def test_lines_of_a_panel_look_different() -> None:
    assert len({style_of(position) for position in range(56)}) == 56


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.05, "0.05"), (20, "20"), (5000, "5,000"), (2e6, "2M"), (1.5, "1.5"), (1e-4, "0.0001")],
)
def test_ticks_are_plain_numbers(value: float, text: str) -> None:
    assert plain_number(value) == text


def test_without_matplotlib_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConflictError, match="matplotlib") as error:
        page([a_usual_report()])
    assert error.value.hint.startswith("pip install 'engine-farm[report]'")


def test_a_users_own_settings_of_matplotlib_change_nothing() -> None:
    import matplotlib as mpl

    usual = page([a_usual_report()])
    with mpl.rc_context({"axes.facecolor": "red", "font.size": 30, "lines.linewidth": 9}):
        assert page([a_usual_report()]) == usual
        assert mpl.rcParams["font.size"] == 30
