"""A user's own metrics: called with dicts of arrays, in a child; what they give, and what they do wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from cli.user_metrics import user_metrics
from farm.domain.errors import AccuracyError, InvalidSpecError
from farm.domain.user_metrics import MOST_FIGURES, UserMetric
from farm.domain.verification import VerificationSpec
from tests.factories import a_digest
from workers.arrays import write_arrays
from workers.child.metrics_request import MetricsRequest
from workers.child.user_metrics import compute_metrics

if TYPE_CHECKING:
    from pathlib import Path

EXPECTED, ACTUAL = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 2.0], [4.0, 3.0]])


def computed(folder: Path, source: str, *functions: str, golden: bool = False) -> dict[str, float]:
    """What the functions of a file give on two samples."""
    path = folder / "metrics.py"
    path.write_text(source)
    given = {"outputs/y": EXPECTED} if golden else {}
    write_arrays(folder / "inputs.npz", {"x": np.ones((2, 3)), "labels": np.array([1, 0]), **given})
    write_arrays(folder / "expected.npz", {"y": EXPECTED})
    write_arrays(folder / "actual.npz", {"y": ACTUAL})
    request = MetricsRequest(
        tuple((function, path) for function in functions),
        folder / "inputs.npz",
        None if golden else folder / "expected.npz",
        folder / "actual.npz",
    )
    return compute_metrics(MetricsRequest.from_json(request.as_json()))


@pytest.mark.parametrize("golden", [True, False])
def test_a_metric_gets_reference_engine_and_inputs_with_their_labels(tmp_path: Path, golden: bool) -> None:
    source = (
        "import numpy as np\n"
        "def worst(expected, actual, inputs):\n"
        "    assert set(inputs) == {'x', 'labels'}, set(inputs)\n"
        "    return np.abs(expected['y'] - actual['y']).max()\n"
        "def right(expected, actual, inputs):\n"
        "    return (actual['y'].argmax(axis=1) == inputs['labels']).mean()\n"
    )
    assert computed(tmp_path, source, "worst", "right", golden=golden) == {"worst": 1.0, "right": 1.0}


def test_several_figures_have_the_functions_name_before_theirs(tmp_path: Path) -> None:
    source = "def f1(expected, actual, inputs):\n    return {'macro': 0.5, 'micro': 1}\n"
    assert computed(tmp_path, source, "f1") == {"f1.macro": 0.5, "f1.micro": 1.0}


def test_what_a_metric_does_to_its_arrays_is_not_seen_by_the_next(tmp_path: Path) -> None:
    source = (
        "def spoil(expected, actual, inputs):\n    actual['y'][:] = 0\n    return 0\n"
        "def total(expected, actual, inputs):\n    return actual['y'].sum()\n"
    )
    assert computed(tmp_path, source, "spoil", "total") == {"spoil": 0.0, "total": 10.0}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return expected['z']", r"metrics\.py:2 in f: KeyError: 'z'"),
        ("raise SystemExit(3)", r"metrics\.py:2 in f: SystemExit: 3"),
        ("return 'high'", "f gives str for f, which is no number"),
        ("return None", "f gives NoneType for f"),
        ("return expected['y']", "f gives ndarray for f"),
        ("return {'a': [1, 2]}", r"f gives list for f\.a"),
        ("return {1: 2.0}", "gives no names of figures"),
        (f"return dict.fromkeys(map(str, range({MOST_FIGURES + 1})), 0)", "or more than"),
    ],
)
def test_a_metric_that_fails_or_gives_no_figures_is_told_by_its_line(
    tmp_path: Path, body: str, said: str
) -> None:
    with pytest.raises(InvalidSpecError, match=said):
        computed(tmp_path, f"def f(expected, actual, inputs):\n    {body}\n", "f")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_figure_that_is_nan_or_infinite_never_passes(tmp_path: Path, value: str) -> None:
    with pytest.raises(AccuracyError, match=r"the metric f is .*, which never passes"):
        computed(tmp_path, f"def f(expected, actual, inputs):\n    return float('{value}')\n", "f")


def test_a_file_that_fails_when_it_is_imported_is_told_by_its_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpecError, match=r"metrics\.py:1 in <module>: ModuleNotFoundError"):
        computed(tmp_path, "import nothing_of_that_name\ndef f(e, a, i): ...\n", "f")


# As they are submitted.


def named(folder: Path, source: str | bytes, *functions: str) -> tuple[UserMetric, ...]:
    path = folder / "metrics.py"
    path.write_bytes(source if isinstance(source, bytes) else source.encode())
    return user_metrics({"metric": tuple(f"{path}:{function}" for function in functions)})


def test_a_metric_is_found_by_the_digest_of_its_file_which_is_not_run(tmp_path: Path) -> None:
    source = "raise SystemExit\ndef f1(expected, actual, inputs): ...\ndef f2(*arrays): ...\n"
    digest = a_digest(source).sha256
    assert named(tmp_path, source, "f1", "f2") == (
        UserMetric("f1", "metrics.py", digest),
        UserMetric("f2", "metrics.py", digest),
    )


@pytest.mark.parametrize(
    ("source", "functions", "said"),
    [
        ("def f(expected, actual): ...", ("f",), r"metrics\.py:1: f must take \(expected, actual, inputs\)"),
        ("def f(a, b, c, d): ...", ("f",), "must take"),
        ("def f(a, b, c, *, k): ...", ("f",), "must take"),
        ("def g(a, b, c): ...", ("f",), "no function 'f' at its top level"),
        ("def f(a, b", ("f",), r"metrics\.py:1: is no Python"),
        (b"\x00", ("f",), "is no Python"),
        ("def f(a, b, c): ...", ("f", "f"), "two metrics are called f"),
    ],
)
def test_what_can_not_be_called_is_refused_before_anything_is_queued(
    tmp_path: Path, source: str | bytes, functions: tuple[str, ...], said: str
) -> None:
    with pytest.raises(InvalidSpecError, match=said):
        named(tmp_path, source, *functions)


@pytest.mark.parametrize("word", ["f1", "nowhere:f1", "file.txt:f1"])
def test_a_word_that_names_no_function_is_refused(word: str) -> None:
    with pytest.raises(InvalidSpecError, match="names no function of a Python file"):
        user_metrics({"metric": (word,)})


def test_metrics_survive_json_and_ask_for_figures_of_their_own() -> None:
    metric = UserMetric("f1", "metrics.py", a_digest("metrics").sha256)
    spec = VerificationSpec(metrics=(metric,))
    assert VerificationSpec.from_json(spec.as_json()) == spec
    assert spec.beyond_inputs == {"metrics": [["f1", metric.sha256]]}
    # What the file is called changes no figure.
    assert VerificationSpec(metrics=(metric._replace(source="m.py"),)).beyond_inputs == spec.beyond_inputs
