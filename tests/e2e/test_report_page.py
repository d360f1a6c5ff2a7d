"""The page of `farm report` in a real browser: nothing cut, nothing on top of another, on paper, in the dark, on a phone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PIL import Image

from cli.report_html import page
from tests.e2e.browser import DARK, Browser
from tests.unit.reports.given import a_figure, a_report, a_run, a_usual_report, an_engine, many_lines

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.driver import FarmCommand

#: The texts of every chart that stick out of it, and those that lie on one another.
_BAD_TEXTS = """
  const bad = [];
  for (const svg of document.querySelectorAll("figure svg")) {
    const frame = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll("text")].filter((text) => text.textContent.trim());
    const boxes = texts.map((text) => text.getBoundingClientRect());
    boxes.forEach((box, at) => {
      const name = texts[at].textContent;
      if (box.width === 0) bad.push(["empty", name]);
      if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1
          || box.bottom > frame.bottom + 1) bad.push(["cut", name]);
      for (let other = 0; other < at; other += 1) {
        const over = Math.min(box.right, boxes[other].right) - Math.max(box.left, boxes[other].left);
        const under = Math.min(box.bottom, boxes[other].bottom) - Math.max(box.top, boxes[other].top);
        // Boxes of letters are taller than the letters.
        if (over > 1 && under > 0.3 * Math.min(box.height, boxes[other].height))
          bad.push(["overlap", name, texts[other].textContent]);
      }
    });
  }
  return bad;
"""
_SORTED = """
  const table = document.querySelector("table");
  const column = () => [...table.tBodies[0].rows].map((row) => row.cells[3].textContent);
  const found = [column()];
  for (let times = 0; times < 2; times += 1) {
    table.tHead.rows[0].cells[3].querySelector("button").click();
    found.push(column(), table.tHead.rows[0].cells[3].getAttribute("aria-sort"));
  }
  return found;
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Browser:
    """A browser for all tests."""
    return Browser(tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages of little and of much, by name."""
    folder = tmp_path_factory.mktemp("pages")
    reports = {
        "usual": [a_usual_report()],
        "one": [a_report(an_engine(1, a_run(1, a_figure(8, 2.0)))), a_report(an_engine(1))],
        "many": [many_lines(60)],
    }
    paths = {name: folder / f"{name}.html" for name in reports}
    for name, path in paths.items():
        path.write_text(page(reports[name], (1000,)), encoding="utf-8")
    return paths


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("name", ["usual", "one", "many"])
def test_no_text_of_a_chart_is_cut_or_lies_on_another(
    browser: Browser, pages: dict[str, Path], name: str, width: int
) -> None:
    assert browser.answer(pages[name], _BAD_TEXTS, width) == []


@pytest.mark.parametrize("name", ["usual", "many"])
def test_a_phone_scrolls_tables_and_never_the_page(
    browser: Browser, pages: dict[str, Path], name: str
) -> None:
    root = "document.documentElement"
    widths = browser.answer(pages[name], f"return [{root}.scrollWidth, {root}.clientWidth];", 390)
    assert widths[0] <= widths[1] <= 500


def test_a_table_is_sorted_by_the_column_whose_head_is_pressed(
    browser: Browser, pages: dict[str, Path]
) -> None:
    before, up, is_up, down, is_down = browser.answer(pages["usual"], _SORTED)
    assert before == ["32.00", "8.000", "–"]
    # By value and not by letter; what was not measured stays at the end.
    assert (up, is_up) == (["8.000", "32.00", "–"], "ascending")
    assert (down, is_down) == (["32.00", "8.000", "–"], "descending")


def test_the_page_is_dark_where_the_reader_wants_it_dark(browser: Browser, pages: dict[str, Path]) -> None:
    script = """
      const rgb = (text) => text.match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0);
      const line = getComputedStyle(document.querySelector("figure svg text"));
      return [rgb(getComputedStyle(document.body).backgroundColor), rgb(line.fill)];
    """
    paper, letters = browser.answer(pages["usual"], script)
    assert paper > 700 > 100 > letters
    paper, letters = browser.answer(pages["usual"], script, 1400, DARK)
    assert paper < 100 < 600 < letters


@pytest.mark.parametrize(
    ("width", "options"), [(1400, ()), (390, ()), (1400, (DARK,))], ids=["wide", "phone", "dark"]
)
def test_the_picture_of_a_page_has_charts_in_colour(
    browser: Browser, pages: dict[str, Path], width: int, options: tuple[str, ...]
) -> None:
    with Image.open(browser.picture(pages["usual"], width, 2400, *options)) as picture:
        assert picture.size == (width, 2400)
        counts = picture.convert("RGB").getcolors(maxcolors=1 << 24)
    assert counts is not None
    found = {colour for count, colour in counts if count > 200}
    blue, green, red = ((77, 166, 232), (47, 207, 157), (255, 138, 76)) if options else ((0, 114, 178), (0, 158, 115), (213, 94, 0))  # fmt: skip
    assert {blue, green, red} <= found


def test_the_page_that_the_command_writes_is_whole(
    browser: Browser, filled_home: FarmCommand, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    # Times of a machine that does something else meanwhile may be tainted.
    filled_home.run("report", "dense", "--tainted", "--html", path)
    heads = "return [...document.querySelectorAll('h2, .head')].map((head) => head.textContent);"
    assert browser.answer(path, heads) == [
        "dense@1", "Time per batch against batch size", "Milliseconds per batch", "Throughput against batch size",
        "Inferences per second", "Accuracy against time at batch 4", "Accuracy", "Build time", "Build time and size",
        "Every figure",
    ]  # fmt: skip
    assert browser.answer(path, _BAD_TEXTS) == []
