"""What all rows of a table have in common is said once above it."""

from __future__ import annotations

from cli.common_columns import without_common

COLUMNS = ("model", "device type", "batch>", "driver")


def test_a_column_that_is_the_same_in_every_row_is_said_once() -> None:
    rows = [("a", "cpu", 1, "580"), ("b", "cpu", 8, "580")]
    said, columns, rest = without_common(COLUMNS, rows, ("device type", "driver"))
    assert said == "all: device type cpu, driver 580"
    assert (columns, rest) == (["model", "batch>"], [["a", 1], ["b", 8]])


def test_an_empty_cell_repeats_the_row_above_it() -> None:
    rows = [("a", "cpu", 1, None), ("", "", 8, None), ("b", "cpu", 1, None)]
    said, columns, _ = without_common(COLUMNS, rows, ("device type",))
    assert (said, columns) == ("all: device type cpu", ["model", "batch>", "driver"])


def test_a_column_that_says_nothing_goes_without_a_word() -> None:
    said, columns, _ = without_common(COLUMNS, [("a", "cpu", 1, None), ("b", "l4", 1, "")], ("driver",))
    assert (said, columns) == ("", ["model", "device type", "batch>"])


def test_only_columns_that_may_go_do_and_one_row_keeps_what_it_says() -> None:
    rows = [("a", "cpu", 1, "580"), ("a", "cpu", 1, "580")]
    assert without_common(COLUMNS, rows, ("batch",))[0] == "all: batch 1"
    assert without_common(COLUMNS, rows[:1], ("device type", "driver")) == (
        "",
        list(COLUMNS),
        [list(rows[0])],
    )


def test_a_table_without_rows_stays_as_it_is() -> None:
    assert without_common(COLUMNS, [], ("driver",)) == ("", list(COLUMNS), [])
