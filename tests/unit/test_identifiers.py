"""Names of submissions, jobs and workers."""

from __future__ import annotations

import re

from farm.domain.identifiers import new_id


def test_an_id_says_what_it_is_of_and_is_short_enough_to_type() -> None:
    assert re.fullmatch(r"j-[0-9a-z]{10}", new_id("j"))
    assert new_id("s").startswith("s-")


def test_an_id_has_no_letters_that_look_alike() -> None:
    letters = set("".join(new_id("") for _ in range(2000))) - {"-"}
    assert letters == set("0123456789abcdefghjkmnpqrstvwxyz")
    assert not letters & set("ilou")


def test_two_ids_do_not_meet() -> None:
    assert len({new_id("j") for _ in range(10_000)}) == 10_000
