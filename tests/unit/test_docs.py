"""The documents say what the code does."""

from __future__ import annotations

import ast
import inspect
import json
import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
import yaml

import farm.settings
from cli.main import COMMANDS
from cli.main import farm as farm_command
from cli.metrics import FarmCollector
from farm.bootstrap import open_farm
from farm.domain import errors
from farm.domain.digests import canonical_json
from farm.domain.jobs import (
    ATTEMPT_TRANSITIONS,
    JOB_TRANSITIONS,
    FailureClass,
    Phase,
    retry_delay_s,
)
from farm.domain.specs import BuildSpec
from farm.settings import read_settings
from farm.storage.tables import metadata
from workers.toolchains import toolchain as toolchain_protocols

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])
DECISIONS = sorted((DOCS / "decisions").glob("*.md"))
SETUP = ("pip install . && farm demo", "pip install '.[test]' && pytest -n auto --dist loadfile")
#: Python's own errors that documents name.
BUILTIN_ERRORS = {"AssertionError", "ImportError", "KeyError", "ModuleNotFoundError"}

by_name = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def without_fences(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def fences(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def section(text: str, heading: str) -> str:
    """From a heading of the second level to the next one."""
    return text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def first_cells(text: str) -> list[str]:
    """What stands in the first column of the tables, where it is code."""
    return re.findall(r"^\| `([^`]+)`", text, flags=re.MULTILINE)


# The life of a job.


def diagrams() -> list[dict[tuple[str, str], str]]:
    """Of every state diagram the transitions with their letters, without start and end."""
    found = []
    for diagram in fences(text_of("docs/job-lifecycle.md"), "mermaid"):
        arrows = re.findall(r"^\s*(\w+) --> (\w+): (\w)$", diagram, flags=re.MULTILINE)
        assert len(arrows) == len(re.findall(r"^\s*\w+ --> \w+", diagram, flags=re.MULTILINE))
        found.append({(before, after): letter for before, after, letter in arrows})
    return found


@pytest.mark.parametrize(("position", "table"), [(0, JOB_TRANSITIONS), (1, ATTEMPT_TRANSITIONS)])
def test_the_diagrams_show_the_transition_tables(position: int, table: Mapping[object, object]) -> None:
    wanted = {(a.value, b.value) for a, following in table.items() for b in following}  # type: ignore[attr-defined]
    assert set(diagrams()[position]) == wanted


def test_the_diagrams_end_where_nothing_follows() -> None:
    for diagram, table in zip(
        fences(text_of("docs/job-lifecycle.md"), "mermaid"),
        (JOB_TRANSITIONS, ATTEMPT_TRANSITIONS),
        strict=True,
    ):
        ends = set(re.findall(r"(\w+) --> \[\*\]", diagram))
        assert ends == {state.value for state, following in table.items() if not following}


def test_every_lettered_transition_is_explained() -> None:
    rows = re.findall(r"^\| (\w) \| (\w+) → (\w+) \|", text_of("docs/job-lifecycle.md"), flags=re.MULTILINE)
    drawn = [(letter, *states) for diagram in diagrams() for states, letter in diagram.items()]
    assert len({letter for letter, *_ in drawn}) == len(drawn)
    assert sorted(rows) == sorted(drawn)


def test_phases_are_those_of_the_code() -> None:
    page = section(text_of("docs/job-lifecycle.md"), "Phases")
    assert first_cells(page) == [phase.value for phase in Phase]


def test_failure_classes_are_those_of_the_code() -> None:
    page = section(text_of("docs/job-lifecycle.md"), "Classes of failure")
    assert set(first_cells(page)) == {cls.value for cls in FailureClass}


def test_errors_stand_beside_their_class() -> None:
    page = section(text_of("docs/job-lifecycle.md"), "Classes of failure")
    rows = re.findall(r"^\| `(\w+)` \|(.*)$", page, flags=re.MULTILINE)
    named = {name: cls for cls, row in rows for name in re.findall(r"`(\w+Error)`", row)}
    assert named == {name: getattr(errors, name).failure_class for name in named}
    assert {"InvalidSpecError", "BuildError", "OutOfMemoryError", "CorruptArtifactError"} <= set(named)


def test_retry_delays_are_those_of_the_code() -> None:
    delays = ", ".join(f"{retry_delay_s(attempt):.0f}" for attempt in range(1, 6))
    assert delays in text_of("docs/job-lifecycle.md")


def test_timestamps_are_columns_of_attempts() -> None:
    page = section(text_of("docs/job-lifecycle.md"), "Timestamps of an attempt")
    columns = {column.name for column in metadata.tables["attempts"].columns if column.name.endswith("_at")}
    assert set(first_cells(page)) == columns


# Other pages.


@by_name
def test_every_error_that_is_named_exists(page: Path) -> None:
    named = set(re.findall(r"\b([A-Z]\w+Error)\b", page.read_text(encoding="utf-8"))) - BUILTIN_ERRORS
    assert {name for name in named if not hasattr(errors, name)} == set()


@by_name
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    text = without_fences(page.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"^\[[^\]]+\]: (\S+)$", text, re.MULTILINE)
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{target} leads nowhere"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}


@by_name
def test_every_file_that_is_named_exists(page: Path) -> None:
    text = without_fences(page.read_text(encoding="utf-8"))
    named = re.findall(r"`((?:farm|workers|cli|tests|migrations)/[\w/]+\.(?:py|onnx))`", text)
    assert [name for name in named if not (ROOT / name).exists() and "plain" not in name] == []


@by_name
def test_every_command_that_is_named_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"(?:`|^\$ |&& )farm ([a-z]+)\b", text, flags=re.MULTILINE)
    assert set(named) <= set(COMMANDS)


def words_of_commands(text: str) -> list[list[str]]:
    """Every command with its words, from blocks for a shell and from code between words; without comments."""
    lines = [line for block in fences(text, "sh") for line in block.splitlines()]
    lines += [line.removeprefix("$ ") for block in fences(text, "console") for line in block.splitlines()]
    lines += re.findall(r"`(farm [^`\n]+)`", without_fences(text))
    lines = [re.sub(r"^docker compose run --rm \w+ ", "", line) for line in lines]
    found = [re.split(r"\s#\s|\s+&&|\s+\|", line)[0].split() for line in lines if line.startswith("farm ")]
    return [words[1:] for words in found if len(words) > 1 and re.fullmatch(r"[a-z]+", words[1])]


def unknown_words(words: list[str]) -> list[str]:
    """Of a command's words those that it does not take: subcommands and options."""
    command: click.Command = farm_command
    with click.Context(farm_command) as context:
        for position, word in enumerate(words):
            if not isinstance(command, click.Group):
                break
            found = command.get_command(context, word)
            if found is None:
                # `farm worker` is a command as well as a group.
                return [] if position and word.startswith(("-", "`")) else [word]
            command = found
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    return [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]


@by_name
def test_every_option_of_a_command_that_is_shown_exists(page: Path) -> None:
    shown = words_of_commands(page.read_text(encoding="utf-8"))
    assert [words for words in shown if unknown_words(words)] == []


def test_an_option_or_subcommand_that_does_not_exist_would_be_found() -> None:
    assert unknown_words(["gc", "--dry-run"]) == []
    assert unknown_words(["gc", "--dryrun"]) == ["--dryrun"]
    assert unknown_words(["keys", "burn"]) == ["burn"]


# Operations.


@pytest.fixture
def metric_names(tmp_path: Path) -> set[str]:
    """Of every metric of an empty farm the name that Prometheus knows it by."""
    opened = open_farm(read_settings(tmp_path, {}), create=True)
    families = list(FarmCollector(opened).collect())
    opened.database.close()
    return {f"{family.name}{'_total' if family.type == 'counter' else ''}" for family in families}


def test_every_metric_is_explained_and_every_expression_is_of_metrics_that_exist(
    metric_names: set[str],
) -> None:
    page = section(text_of("docs/operations.md"), "Metrics")
    listed = [name for name in first_cells(page) if name.startswith("farm_")]
    assert set(listed) == metric_names
    named = set(re.findall(r"\bfarm_[a-z_]+", page))
    assert {re.sub(r"_(sum|count)$", "", name) for name in named} <= metric_names


def test_every_alert_leads_to_what_to_do() -> None:
    page = section(text_of("docs/operations.md"), "Metrics")
    rows = re.findall(r"^\| [a-z][^|]+ \| `([^`]+)` \| (.+) \|$", page, flags=re.MULTILINE)
    assert len(rows) >= 8
    assert all("#" in todo or "`farm " in todo for _, todo in rows)


def test_every_service_of_the_compose_file_is_explained() -> None:
    listed = re.findall(r"^\| (`[^|]+) \|", section(text_of("docs/operations.md"), "Install"), re.MULTILINE)
    services = yaml.safe_load(text_of("docker-compose.yml"))["services"]
    assert {name for cell in listed for name in re.findall(r"`([\w-]+)`", cell)} == set(services)


def test_the_readme_has_every_command() -> None:
    named = re.findall(r"^\| `farm ([a-z]+)", section(text_of("README.md"), "Commands"), flags=re.MULTILINE)
    assert named == list(COMMANDS)


def test_the_readme_has_the_two_commands_of_the_set_up() -> None:
    blocks = [block.strip() for block in fences(section(text_of("README.md"), "Set up"), "sh")]
    assert blocks == list(SETUP)


def test_the_settings_are_those_that_the_code_reads() -> None:
    source = inspect.getsource(farm.settings)
    read = {
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"FARM_[A-Z_]+", node.value)
        and node.value != "FARM_"
    }
    listed = first_cells(section(text_of("README.md"), "Settings"))
    assert set(listed) == read
    assert listed == first_cells(inspect.getdoc(farm.settings) or "")


def test_the_tables_are_those_of_the_schema() -> None:
    listed = first_cells(text_of("docs/schema.md").split("\n## ", 1)[0])
    assert set(listed) == {*metadata.tables, "alembic_version"}


def test_the_worked_example_has_its_key() -> None:
    page = section(text_of("docs/engine-key.md"), "A worked example")
    (document,), (canonical,) = fences(page, "json"), fences(page, "text")
    spec = BuildSpec.from_json(json.loads(document))
    assert canonical.replace("\n", "") == canonical_json(spec.as_json()).decode()
    assert spec.digest.sha256 in page
    assert f"{spec.digest.size_bytes} bytes" in page


def test_the_components_of_the_key_are_all_listed() -> None:
    page = text_of("docs/engine-key.md")
    document = json.loads(fences(page, "json")[0])
    spec = BuildSpec.from_json(document).as_json()
    wanted = {
        f"{name}.{part}" if part else name
        for name, value in spec.items()
        for part in (value if isinstance(value, dict) and value else [""])
    }
    # The example is not calibrated, so that part is not in its key.
    optional = {field.name for field in fields(BuildSpec)} - {"model_sha256", "target"} - set(spec)
    assert set(first_cells(section(page, "What is in the key"))) == wanted | optional


def test_the_example_toolchain_has_what_the_protocols_ask_for() -> None:
    (code,) = [block for block in fences(text_of("docs/adding-a-toolchain.md"), "python") if "def " in block]
    tree = ast.parse(code, feature_version=(3, 10))
    classes = [
        {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    ]
    for name in ("Toolchain", "LoadedEngine", "TimedSession"):
        protocol = getattr(toolchain_protocols, name)
        wanted = {
            method
            for method, value in vars(protocol).items()
            if inspect.isfunction(value) and not method.startswith("_")
        }
        assert any(wanted <= methods for methods in classes), f"no class of the example is a {name}"


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda path: path.stem)
def test_every_decision_has_its_three_parts(decision: Path) -> None:
    text = decision.read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", text, flags=re.MULTILINE) == ["Context", "Decision", "Consequences"]
    assert re.search(r"^Date: \d{4}-\d{2}-\d{2}\b", text, flags=re.MULTILINE)
    assert text.startswith(f"# {decision.stem[:4]} ")


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = [int(path.stem[:4]) for path in DECISIONS]
    assert numbers == list(range(1, len(numbers) + 1))


def test_no_page_names_a_machine() -> None:
    private = re.compile(r"/root/|/home/|/tmp/|pypi\.|index-url")
    assert [page.name for page in PAGES if private.search(page.read_text(encoding="utf-8"))] == []
