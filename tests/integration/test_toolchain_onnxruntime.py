"""The ONNX Runtime toolchain in its child, also where the child lives in Python 3.10."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

from farm.domain.errors import BuildError, InvalidModelError, InvalidRequestError, InvalidSpecError
from farm.domain.methods import Method
from farm.domain.targets import DeviceKind
from tests.fake_toolchain.harness import ROOT, farm_of_test, write_model
from tests.server_programs import missing
from workers.child.reference_request import ReferenceRequest, reference_request_as_json
from workers.interpreters import command_of_child, probe_interpreter
from workers.toolchains import MODULES, load_toolchain
from workers.toolchains.toolchain import BuildInput

if TYPE_CHECKING:
    from workers.interpreters import Interpreter


def silent(_fraction: float | None, _message: str) -> None:
    """Nobody listens."""


def build(model: Path, folder: Path, **config: Any) -> Path:
    """An engine of a model."""
    engine = folder / "engine"
    load_toolchain("onnxruntime").build(BuildInput(model, engine, "fp32", config), silent)
    return engine


def test_it_says_what_it_can_do_and_why_not_the_rest() -> None:
    description = load_toolchain("onnxruntime").describe()
    assert description.serves is DeviceKind.CPU
    assert description.supported_precisions == ("fp32", "int8")
    assert "nearest: fp32" in description.why_not("fp16")
    assert description.normalise({"graph_optimization_level": "all"}) == {}
    with pytest.raises(InvalidSpecError):
        description.normalise({"graph_optimization_level": "most"})


def test_an_engine_runs_as_it_was_optimized_and_not_further(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model" / "model.onnx", batch="N")
    x = {"x": np.ones((2, 4), dtype=np.float32)}
    nodes = {}
    for level in ("DISABLE_ALL", "ALL"):
        (tmp_path / level).mkdir()
        engine = build(model, tmp_path / level, graph_optimization_level=level)
        loaded = load_toolchain("onnxruntime").load(engine)
        (run,) = loaded.profile_layers(x, 1)
        nodes[level] = [event.type for event in run]
        assert len(run) == len(onnx.load(engine).graph.node)
    assert len(nodes["ALL"]) <= len(nodes["DISABLE_ALL"])


@pytest.mark.parametrize("level", ["ALL", "DISABLE_ALL"])
def test_an_engine_computes_what_its_model_computes(tmp_path: Path, level: str) -> None:
    model = write_model(tmp_path / "model" / "model.onnx", batch="N")
    loaded = load_toolchain("onnxruntime").load(build(model, tmp_path, graph_optimization_level=level))
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    np.testing.assert_allclose(loaded.infer({"x": x})["y"], x @ np.arange(12, dtype=np.float32).reshape(4, 3))
    assert [(t.name, t.dtype, t.shape) for t in loaded.inputs] == [("x", "float32", (-1, 4))]
    loaded.close()


def test_a_timed_session_runs_again_and_again_on_bound_inputs(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model" / "model.onnx")
    loaded = load_toolchain("onnxruntime").load(build(model, tmp_path))
    (session,) = loaded.timed_sessions({"x": np.zeros((1, 4), np.float32)})
    times = session.iterate()
    assert times.compute_ms > 0
    assert (times.h2d_ms, times.d2h_ms) == (0.0, 0.0)
    assert session.burst(10) > 0
    session.close()
    loaded.close()


def test_several_threads_call_one_session_at_once_each_with_inputs_of_its_own(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model" / "model.onnx")
    loaded = load_toolchain("onnxruntime").load(build(model, tmp_path))
    turns = [{"x": np.full((1, 4), number, np.float32)} for number in range(3)]
    wanted = [
        Method(),
        Method(graph=True, transfers=False),
        Method(streams=3),
        Method(transfers=False, streams=3),
    ]
    found = []
    with closing(loaded.sessions_by(turns, wanted)) as sessions:
        for session in sessions:
            found.append(str(session.method))
            assert session.iterate().compute_ms > 0
            assert session.burst(5) > 0
            if session.method.streams > 1:
                times = session.iterate_many(7)
                assert times.shape == (9, 3), "every thread makes as many"
                assert (times[:, 1] > 0).all()
    assert found == ["plain", "plain-s3"], "a CPU has no other ways"
    loaded.close()


def test_a_call_that_fails_in_a_thread_fails_the_session(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model" / "model.onnx")
    loaded = load_toolchain("onnxruntime").load(build(model, tmp_path))
    with (
        closing(loaded.sessions_by([{"x": np.zeros((1, 5), np.float32)}], [Method(streams=2)])) as sessions,
        pytest.raises(Exception, match="invalid dimensions"),
    ):
        next(sessions).iterate()
    loaded.close()


def test_what_is_no_model_or_no_engine_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(InvalidModelError):
        build(tmp_path / "model.onnx", tmp_path)
    with pytest.raises((BuildError, InvalidModelError)):
        load_toolchain("onnxruntime").load(tmp_path / "model.onnx")


def test_inputs_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    loaded = load_toolchain("onnxruntime").load(write_model(tmp_path / "model" / "model.onnx"))
    with pytest.raises(InvalidSpecError):
        loaded.infer({"x": np.zeros((1, 5), np.float32)})
    loaded.close()


def run_child(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The answer of a real child."""
    (folder / "request.json").write_text(json.dumps(request))
    command = command_of_child(Path(sys.executable), folder / "request.json", folder / "result.json")
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    answer: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return answer


def reference_request(folder: Path, *, make_inputs: bool, seed: int = 0) -> dict[str, Any]:
    """For the small model, two samples at a time."""
    model = write_model(folder / "model" / "model.onnx", batch="N")
    return reference_request_as_json(
        ReferenceRequest(
            model, folder / "inputs.npz", make_inputs, {"x": (2, 4)}, seed, folder / "outputs.npz"
        )
    )


def test_a_reference_makes_seeded_inputs_and_the_models_outputs(tmp_path: Path) -> None:
    answer = run_child(reference_request(tmp_path, make_inputs=True, seed=3), tmp_path)
    assert answer["failure"] is None
    assert answer["reference"] == f"{load_toolchain('onnxruntime').describe().id} fp32"
    x = np.load(tmp_path / "inputs.npz")["x"]
    y = np.load(tmp_path / "outputs.npz")["y"]
    assert x.shape == (2, 4)
    np.testing.assert_allclose(y, x @ np.arange(12, dtype=np.float32).reshape(4, 3), rtol=1e-5)


def test_a_reference_runs_all_given_samples_and_leaves_them_alone(tmp_path: Path) -> None:
    np.savez(tmp_path / "inputs.npz", x=np.ones((5, 4), np.float32))
    before = (tmp_path / "inputs.npz").read_bytes()
    answer = run_child(reference_request(tmp_path, make_inputs=False), tmp_path)
    assert answer["failure"] is None
    assert np.load(tmp_path / "outputs.npz")["y"].shape == (5, 3)
    assert (tmp_path / "inputs.npz").read_bytes() == before


def test_a_reference_with_wrong_inputs_says_which(tmp_path: Path) -> None:
    np.savez(tmp_path / "inputs.npz", x=np.ones((5, 3), np.float32))
    failure = run_child(reference_request(tmp_path, make_inputs=False), tmp_path)["failure"]
    assert (failure["code"], failure["failure_class"]) == ("InvalidSpecError", "request")
    assert "'x' is float32 5x3" in failure["message"]


def test_a_probe_tells_what_loads_and_why_the_rest_does_not(tmp_path: Path) -> None:
    answer = run_child({"operation": "probe"}, tmp_path)
    assert "onnxruntime" in answer["toolchains"]
    assert set(answer["toolchains"]) | set(answer["missing"]) == set(MODULES)
    assert all("\n" not in reason for reason in answer["missing"].values())


# Python 3.10, where TensorRT 8's modules end.


def _python310() -> Path:
    """The oldest Python that a child runs on; shims that lead nowhere do not count."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates = [*sorted(root.glob("versions/3.10.*/bin/python3.10")), shutil.which("python3.10")]
    for candidate in filter(None, candidates):
        asked = subprocess.run(
            [candidate, "-c", "import sys, venv; print(*sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.stdout.strip() == "3 10":
            return Path(candidate)
    return missing("no Python 3.10 on PATH or under PYENV_ROOT")


@pytest.fixture(scope="session")
def python310(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment of Python 3.10 with what a toolchain's environment needs."""
    folder = tmp_path_factory.mktemp("python310")
    subprocess.run([str(_python310()), "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    installed = subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "onnxruntime"],
        capture_output=True,
        text=True,
        check=False,
    )
    if installed.returncode:
        missing(f"onnxruntime for Python 3.10 could not be installed: {installed.stderr.strip()[-300:]}")
    return python


@pytest.fixture(scope="session")
def old(python310: Path, tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    """What it offers."""
    return probe_interpreter(python310, tmp_path_factory.mktemp("probe"))


def test_a_probe_of_python_3_10_finds_its_onnxruntime(old: Interpreter) -> None:
    assert old.version.startswith("3.10.")
    (description,) = old.toolchains
    assert description.id.name == "onnxruntime"


def test_a_worker_on_a_newer_python_builds_with_a_toolchain_in_python_3_10(
    old: Interpreter, tmp_path: Path
) -> None:
    own = probe_interpreter(Path(sys.executable), tmp_path / "probe")
    with farm_of_test(tmp_path, own) as place:
        place.interpreters = (own, old)
        (toolchain,) = old.toolchains
        own_ids = {description.id for description in own.toolchains}
        if toolchain.id in own_ids:
            place.interpreters = (old, own)
        with place.worker():
            (job_id,) = place.submit(
                toolchain=f"onnxruntime@{toolchain.id.version}",
                model=write_model(place.model, batch="N"),
                batches=(1, 4),
            )
            job = place.succeeded(job_id)
        assert job.target.toolchain == toolchain.id
        (run,) = place.engine(job_id).runs
        assert run.accuracy is not None
        assert run.accuracy.outputs[0].snr_db > 60
        assert [m.batch for m in run.measurements] == [1, 4]
        with place.farm.database.engine.connect() as connection:  # type: ignore[attr-defined]
            environment = connection.exec_driver_sql("SELECT environment FROM attempts").scalar_one()
        assert json.loads(environment)["python"] == old.version


def test_every_module_of_the_child_compiles_in_python_3_10(python310: Path) -> None:
    files = [
        *(ROOT / "workers" / "child").glob("*.py"),
        *(ROOT / "workers" / "toolchains").glob("*.py"),
        *(ROOT / "farm" / "domain").glob("*.py"),
    ]
    program = "import sys\nfor name in sys.argv[1:]:\n    compile(open(name).read(), name, 'exec')\n"
    done = subprocess.run(
        [str(python310), "-c", program, *map(str, files)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_an_interpreter_without_numpy_is_refused_with_what_it_needs(tmp_path: Path) -> None:
    subprocess.run([str(_python310()), "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    with pytest.raises(InvalidRequestError, match="No module named 'numpy'") as caught:
        probe_interpreter(tmp_path / "bare" / "bin" / "python", tmp_path / "scratch")
    assert "numpy" in caught.value.hint
