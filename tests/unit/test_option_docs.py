"""The pages of builder options and of trtexec's flags say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from cli.trtexec import FLAGS, flags_as_markdown
from cli.trtexec_flag import Answer
from farm.domain.option_releases import OPTION_RELEASES
from tests.unit.trt.option_table import option_table

DOCS = Path(__file__).resolve().parents[2] / "docs"


def table_of(page: str) -> str:
    """The page's first table with more than five rows."""
    text = (DOCS / page).read_text(encoding="utf-8")
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    return next(table for table in tables if table.count("\n") > 20)


def test_the_page_of_builder_options_has_them_all_as_they_are() -> None:
    assert table_of("builder-options.md") == option_table()


def test_the_page_of_builder_options_has_the_reason_of_each_that_rtx_does_not_offer() -> None:
    text = " ".join((DOCS / "builder-options.md").read_text(encoding="utf-8").split())
    for name, releases in OPTION_RELEASES.items():
        if releases.why_not_rtx:
            assert releases.why_not_rtx in text, name


def test_the_page_of_trtexec_has_every_flag_and_its_answer() -> None:
    assert table_of("trtexec.md") == flags_as_markdown()


def test_every_flag_of_trtexec_has_an_answer_and_a_reason() -> None:
    for name, flag in FLAGS.items():
        assert flag.name == name
        assert flag.says, name
        assert (flag.translate is not None) == (flag.answer is Answer.TAKEN), name
        assert not flag.only or flag.answer is Answer.NEEDLESS, name
