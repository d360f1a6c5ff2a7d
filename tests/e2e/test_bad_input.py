"""Whatever is wrong: one clear line, what to do next, the right exit code, nothing queued, nothing lost."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e import models
from tests.e2e.driver import FarmCommand, fast_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.services import PostgresServer

GOOD = models.dense(batch=1).SerializeToString()


def _broken_model(name: str, folder: Path) -> Path:
    """A model that nobody should take."""
    path = folder / "model.onnx"
    contents: dict[str, bytes] = {
        "text": b"this is no model\n",
        "truncated": GOOD[: len(GOOD) // 2],
        "empty": b"",
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
        "zip": b"PK\x03\x04" + bytes(100),
        "opset": models.dense(opset=99).SerializeToString(),
        "operator": models.dense(operator="Actify").SerializeToString(),
        "engine": b"ftrt" + bytes(64),
    }
    if name in contents:
        return models.save(contents[name], path)
    external: dict[str, Callable[[], Path]] = {
        "external missing": lambda: models.save_external(path, location="elsewhere.bin"),
        "external outside": lambda: models.save_external(path, location="../secret.bin"),
        "external absolute": lambda: models.save_external(path, location="/etc/passwd"),
        "external past the end": lambda: models.save_external(path, offset=64, length=128),
        "external link": lambda: models.save_external(path, location="link.bin"),
    }
    if name == "external link":
        secret = folder.parent / "secret.bin"
        secret.write_bytes(bytes(128))
        (folder / "link.bin").symlink_to(secret)
    if name in external:
        return external[name]()
    if name == "folder":
        path.mkdir()
    return path  # missing


@pytest.mark.parametrize("command", ["submit", "inspect"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "no such file"),
        ("folder", "is a folder"),
        ("text", "is not an ONNX model"),
        ("truncated", "is not an ONNX model, or only the beginning of one"),
        ("empty", "is empty"),
        ("lfs", "Git LFS pointer"),
        ("zip", "zip archive, as PyTorch writes"),
        ("engine", "is a TensorRT engine"),
        ("opset", "opset 99; newest known"),
        ("operator", "node 'activate'"),
        ("external missing", "external file 'elsewhere.bin' (tensor 'w') is missing"),
        ("external outside", "'../secret.bin', which is not a plain name"),
        ("external absolute", "'/etc/passwd', which is not a plain name"),
        (
            "external past the end",
            "tensor 'w' ends at byte 192 of external file 'weights.bin', which has 128",
        ),
        ("external link", "symbolic link"),
    ],
)
def test_a_model_that_can_not_be_taken(farm: FarmCommand, command: str, name: str, message: str) -> None:
    folder = farm.folder / "models"
    folder.mkdir()
    path = _broken_model(name, folder)
    said = farm.refused(command, path, code=2)
    assert f"error: {path}: " in said
    assert message in said
    assert not farm.has_anything()


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        ("--batch 4 --min-shapes x:8x8 --opt-shapes x:4x8 --max-shapes x:16x8", "must satisfy min <= opt <= max", ""),
        ("--min-shapes x:1x8 --opt-shapes x:32x8 --max-shapes x:16x8", "1x8, 32x8, 16x8", ""),
        ("", "input 'x' is dynamic (x float32 Nx8) and needs shapes", "or --batch"),
        ("--opt-shapes y:1x8", "the model has no input 'y'", "Known: x."),
        ("--opt-shapes x:1x9", "shape 1x9 does not fit input x float32 Nx8", ""),
        ("--opt-shapes x:1x8x1", "shape 1x8x1 does not fit", ""),
        ("--opt-shapes x:1x8,x:2x8", "input 'x' is given two shapes", ""),
        ("--opt-shapes 1x8", "not an input's shape: '1x8'", "Write name:shape"),
        ("--opt-shapes x:onexeight", "not a shape: 'onexeight'", "Write sizes joined by x"),
        ("--opt-shapes x:-1x8", "not a shape: '-1x8'", ""),
        ("--batch 32 --min-shapes x:1x8 --opt-shapes x:4x8 --max-shapes x:16x8", "batch 32 is outside the profile", ""),
        ("--batch 0", "batch sizes start at 1, not 0", ""),
        ("--batch one", "batch must be a whole number, not 'one'", ""),
        ("--batch 99999999999999999999", "no dimension can be 99999999999999999999", ""),
        ("--batch 1 --gpu h2o", "unknown GPU 'h2o'", "Known: "),
        ("--batch 1 --gpu sm98", "unknown GPU 'sm98'", "Did you mean any-sm89"),
        ("--batch 1 --toolchain tensort-rtx", "no toolchain 'tensort-rtx'", "Did you mean tensorrt-rtx@"),
        ("--batch 1 --toolchain onnxruntime@0.1", "no toolchain 'onnxruntime@0.1'", "Did you mean onnxruntime@"),
        ("--batch 1 --toolchain ONNX!", "not a toolchain: 'ONNX!'", "Write a name or name@version"),
        ("--batch 1 --gpu sm89 --toolchain onnxruntime", "no toolchain onnxruntime has served any-sm89", "Known for it: tensorrt-rtx@"),
        ("--batch 1 --precision fp61", "unknown precision 'fp61'", "Did you mean fp16"),
        ("--batch 1 --gpu cpu --precision int8", "int8 is not supported yet by this toolchain", "Ask for another"),
        ("--batch 1 --set graph_optimisation_level=ALL", "no builder option 'graph_optimisation_level'", "Did you mean graph_optimization_level"),
        ("--batch 1 --gpu cpu --set graph_optimization_level=MAX", "graph_optimization_level", "ALL"),
        ("--batch 1 --gpu cpu --set tensorrt:builder_optimization_level=4", "for a toolchain that builds no cell here", "onnxruntime"),
        ("--batch 1 --name no/../way!", "not a name for a model", "Letters, digits"),
        ("--batch 1 --max-attempts 0", "at least one attempt", ""),
        ("--batch 1 --deadline -5", "not a span of time: '-5'", "30m"),
    ],
)  # fmt: skip
def test_a_request_that_means_nothing(farm: FarmCommand, words: str, message: str, hint: str) -> None:
    path = models.save(models.dense(), farm.folder / "model.onnx")
    said = farm.refused("submit", path, *words.split(), code=2)
    assert message in said
    assert hint in said
    assert not farm.has_anything()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--opt-shapes x:1x8", "input 'x' is static: it takes no shapes"),
        ("--batch 4", "the model's batch is fixed at 1: it can not run at 4"),
    ],
)
def test_a_static_model_takes_no_other_shapes(farm: FarmCommand, words: str, message: str) -> None:
    path = models.save(GOOD, farm.folder / "model.onnx")
    assert message in farm.refused("submit", path, *words.split(), code=2)
    assert not farm.has_anything()


def test_every_dynamic_input_needs_shapes(farm: FarmCommand) -> None:
    path = models.save(models.two_dynamic(), farm.folder / "model.onnx")
    assert "input 'b' is dynamic" in farm.refused("submit", path, "--opt-shapes", "a:1x8", code=2)
    assert "more than the batch is dynamic in input a" in farm.refused("submit", path, "--batch", "1", code=2)
    assert not farm.has_anything()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "can not be read"),
        ("- a list", "must be a mapping"),
        ("model: [1", "can not be read"),
        ("model: model.onnx\nprecison: fp16\n", "unknown key 'precison'"),
        ("model: model.onnx\nbatch: many\n", "batch must be a whole number"),
        ("model: model.onnx\nset: high\n", "set must map names to values"),
        ("model: model.onnx\nmin_shapes: [1, 2]\n", "min_shapes must map inputs to shapes"),
        ("model: model.onnx\nduration_ms: soon\n", "duration_ms must be a whole number"),
        ("model: model.onnx\nduration_ms: -1\n", "a benchmark needs a duration"),
        ("model: model.onnx\nthresholds: {min_cosine: high}\n", "min_cosine is no number"),
        ("model: 7\n", "7: no such file"),
        ("model: model.onnx\nopt_shapes: {x: [1, 9]}\n", "shape 1x9 does not fit"),
        ("name: net\n", "no model is given"),
        ("model: model.onnx\nname: [a]\n", "name must be a text, not ['a']"),
        ("model: model.onnx\ntags: {1: 2}\nprecision: [16]\n", "unknown precision '16'"),
    ],
)
def test_a_spec_file_that_means_nothing(farm: FarmCommand, text: str | None, message: str) -> None:
    models.save(models.dense(), farm.folder / "model.onnx")
    path = farm.folder / "build.yaml"
    if text is not None:
        path.write_text(text)
    assert message in farm.refused("submit", "--spec", path, code=2)
    assert not farm.has_anything()


def test_a_spec_that_can_not_be_saved(farm: FarmCommand) -> None:
    path = models.save(GOOD, farm.folder / "model.onnx")
    said = farm.refused("submit", path, "--save-spec", farm.folder / "no" / "such" / "folder.yaml", code=2)
    assert "can not be written: No such file or directory" in said
    assert not farm.has_anything()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("frobnicate", 2, "there is no command 'frobnicate'"),
        ("sumbit x.onnx", 2, "Did you mean submit?"),
        ("submit --batchs 1", 2, "No such option"),
        ("status s-nothing", 3, "there is no submission 's-nothing'"),
        ("watch s-nothing", 3, "there is no submission 's-nothing'"),
        ("watch", 3, "nothing was submitted yet"),
        ("logs j-nothing", 3, "there is no job 'j-nothing'"),
        ("cancel j-nothing", 3, "there is no job 'j-nothing'"),
        ("cancel s-nothing", 3, "there is no submission 's-nothing'"),
        ("retry j-nothing", 3, "there is no job 'j-nothing'"),
        ("engines nothing", 3, "no model is named 'nothing'"),
        ("fetch nothing", 3, "no model is named 'nothing'"),
        ("history nothing", 3, "no model is named 'nothing'"),
        ("up --device GPU-7", 2, "this machine has no device 'GPU-7'"),
        ("worker --device gpu", 2, "this machine has no device 'gpu'"),
        ("up --toolchain-python /no/such/python", 2, "does not exist"),
        ("up --toolchain-python /bin/true", 2, "/bin/true can not run the farm's child"),
        ("submit model.onnx --tag team", 2, "'team' is not NAME=VALUE"),
        ("submit model.onnx --set =4", 2, "'=4' is not NAME=VALUE"),
        ("history x --since yesterday", 3, "no model is named 'x'"),
        ("db upgrade 9999", 4, "9999"),
        ("completion tcsh", 2, "'tcsh' is not one of"),
    ],
)  # fmt: skip
def test_a_command_that_means_nothing(farm: FarmCommand, words: str, code: int, message: str) -> None:
    ended = farm.run(*words.split(), code=code)
    assert message in ended.err
    assert not farm.has_anything()


@pytest.mark.parametrize("words", ["status", "engines", "models", "devices", "toolchains", "workers", "fetch net", "history net", "watch", "logs j-1", "cancel j-1", "retry j-1"])  # fmt: skip
def test_where_there_is_no_farm_nothing_is_made(new_farm: FarmCommand, words: str) -> None:
    said = new_farm.refused(*words.split(), code=3)
    assert f"there is no farm in {new_farm.home}" in said
    assert "hint:  `farm up` or `farm submit --local` makes one" in said
    assert not new_farm.home.exists()


def test_errors_for_programs_are_documents(farm: FarmCommand) -> None:
    import json

    ended = farm.run("fetch", "nothing", "--json", code=3)
    assert ended.out == ""
    assert json.loads(ended.err) == {
        "error": "NotFoundError",
        "message": "no model is named 'nothing'",
        "hint": json.loads(ended.err)["hint"],
        "exit_code": 3,
    }


def test_a_bug_is_one_line_and_its_trace_is_kept(farm: FarmCommand) -> None:
    # A file in place of the package that every command needs: no failure that the farm could foresee.
    (farm.folder / "broken").mkdir()
    (farm.folder / "broken" / "sqlalchemy.py").write_text("raise RuntimeError('boom')\n")
    path = f"{farm.folder / 'broken'}{os.pathsep}{farm.environment['PYTHONPATH']}"
    said = farm.refused("status", code=1, PYTHONPATH=path, TMPDIR=str(farm.folder))
    assert said.startswith("error: RuntimeError: boom\nhint:  This is a bug of the farm")
    assert "Traceback" in Path(said.rpartition(" ")[2]).read_text()
    debug = farm.start("--debug", "status", PYTHONPATH=path).end()
    assert "Traceback" in debug.err


# The store


def test_a_missing_store(farm: FarmCommand) -> None:
    path = models.save(GOOD, farm.folder / "model.onnx")
    shutil.rmtree(farm.home / "artifacts")
    said = farm.refused("submit", path, "--gpu", "cpu", code=6)
    assert f"{farm.home / 'artifacts'} is missing" in said
    assert "Is it mounted?" in said
    assert not farm.has_anything()


def test_a_store_that_can_not_be_written(farm: FarmCommand) -> None:
    path = models.save(GOOD, farm.folder / "model.onnx")
    store = farm.home / "artifacts"
    shutil.rmtree(store)
    store.write_text("a file where a folder should be")
    assert "artifacts" in farm.refused("submit", path, "--gpu", "cpu", code=6)
    assert not farm.has_anything()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
def test_a_full_disk(farm: FarmCommand) -> None:
    path = models.save(models.slow(layers=1), farm.folder / "model.onnx")  # 1 MiB of weights
    with _small_disk(farm.folder / "disk", "900k") as disk:
        store = disk / "artifacts"
        (store / "incoming").mkdir(parents=True)
        said = farm.refused("submit", path, "--gpu", "cpu", "--batch", "1", code=6, FARM_STORE=str(store))
        assert f"no space left at {store}" in said
        assert "Free some space" in said
        assert not farm.has_anything()
        assert list((store / "incoming").iterdir()) == [], "no half of a file is left"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
def test_a_disk_without_room_for_a_database(new_farm: FarmCommand) -> None:
    path = models.save(GOOD, new_farm.folder / "model.onnx")
    with _small_disk(new_farm.home, "64k"):
        said = new_farm.refused("submit", path, "--gpu", "cpu", code=6)
        assert "full" in said or "no space left" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
def test_a_full_disk_at_fetch_leaves_no_file(filled_home: FarmCommand, tmp_path: Path) -> None:
    with _small_disk(tmp_path / "disk", "64k") as disk:
        with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))
        said = filled_home.refused("fetch", "dense", "-o", disk / "dense.engine", code=6)
        assert "no space left" in said
        assert [path.name for path in disk.iterdir()] == ["filler"]


@contextmanager
def _small_disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    mounted = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        yield folder
    finally:
        subprocess.run(["/bin/umount", "--lazy", folder], check=True)


# The database


def test_a_database_that_is_down(new_farm: FarmCommand, postgres_server: PostgresServer) -> None:
    url = postgres_server.createdb()
    store = str(new_farm.folder / "store")
    path = models.save(GOOD, new_farm.folder / "model.onnx")
    postgres_server.stop()
    try:
        for words in (("status",), ("submit", path), ("up",)):
            said = new_farm.refused(*words, code=6, FARM_DATABASE_URL=url, FARM_STORE=store)
            assert "can not be reached" in said
            assert "Is it up" in said
        doctor = new_farm.run("doctor", code=1, FARM_DATABASE_URL=url, FARM_STORE=store)
        assert "✗ database: " in doctor.out
    finally:
        postgres_server.start()


def test_a_password_is_never_shown(new_farm: FarmCommand) -> None:
    url = "postgresql+psycopg://farm:s3cret@127.0.0.1:1/farm"
    ended = new_farm.run("status", code=6, FARM_DATABASE_URL=url)
    assert "s3cret" not in ended.err + ended.out
    assert "farm:***@127.0.0.1" in ended.err


@pytest.mark.parametrize(
    ("url", "message"), [("mysql://localhost/farm", "not a database URL"), ("nonsense", "not a database URL")]
)
def test_a_database_that_the_farm_does_not_know(new_farm: FarmCommand, url: str, message: str) -> None:
    assert message in new_farm.refused("status", code=2, FARM_DATABASE_URL=url)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("FARM_LEASE_S", "soon"), ("FARM_STORE", "gs://bucket"), ("FARM_BUSY_S", "-1"), ("FARM_BROKER_URL", "redis:/x")],
)  # fmt: skip
def test_a_setting_that_means_nothing(farm: FarmCommand, variable: str, value: str) -> None:
    path = models.save(GOOD, farm.folder / "model.onnx")
    assert variable in farm.refused("submit", path, "--gpu", "cpu", code=2, **{variable: value})
    assert not farm.has_anything()


def test_a_locked_database(farm: FarmCommand) -> None:
    path = models.save(GOOD, farm.folder / "model.onnx")
    with _locked(farm.home / "farm.db"):
        begin = time.monotonic()
        said = farm.refused("submit", path, "--gpu", "cpu", code=6, FARM_BUSY_S="0.5")
        assert time.monotonic() - begin < 10
        assert "has been locked by another process for too long" in said
        assert "Find who holds it" in said
        assert farm.json("models", FARM_BUSY_S="0.5") == [], "reading goes on meanwhile"
    assert not farm.has_anything()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Another process that writes and does not come to an end."""
    code = (
        "import sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('BEGIN EXCLUSIVE')\nprint('locked', flush=True)\nsys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield


@pytest.mark.parametrize(
    ("revision", "message", "hint"),
    [("0000", "older than this release's", "Run `farm db upgrade`."), ("9999", "newer than this release's", "Upgrade engine-farm")],
)  # fmt: skip
def test_a_database_on_another_schema(farm: FarmCommand, revision: str, message: str, hint: str) -> None:
    with closing(sqlite3.connect(farm.home / "farm.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [revision])
        connection.execute("UPDATE schema_compatibility SET oldest = ?", [revision])
    path = models.save(GOOD, farm.folder / "model.onnx")
    for words in (("status",), ("submit", path), ("up",), ("worker",)):
        said = farm.refused(*words, code=4)
        assert message in said
        assert hint in said
    assert revision in farm.run("db", "current").out
    assert "✗ database: " in farm.run("doctor", code=1).out
    assert not farm.has_anything()


def test_a_file_that_is_no_database(farm: FarmCommand) -> None:
    (farm.home / "farm.db").write_bytes(b"this is no database, but long enough to be looked at\n" * 100)
    assert "is damaged or no database" in farm.refused("status", code=6)


def test_a_home_that_is_a_file(new_farm: FarmCommand) -> None:
    new_farm.home.write_text("a file")
    path = models.save(GOOD, new_farm.folder / "model.onnx")
    said = new_farm.refused("submit", path, code=6)
    assert "can not be made: " in said
    assert "Choose another with FARM_HOME or --home." in said


# Workers and engines


def test_two_workers_on_one_folder(farm: FarmCommand) -> None:
    with farm.up() as first:
        said = farm.refused("up", code=4)
        assert f"{farm.home} already has a worker: pid {first.pid}" in said
        assert "choose another folder with --home" in said
    with farm.up():
        pass  # the folder is free again


def test_altered_bytes_are_never_handed_out(filled_home: FarmCommand, tmp_path: Path) -> None:
    farm = FarmCommand(tmp_path)
    shutil.copytree(filled_home.home, farm.home, symlinks=True)
    (engine,) = farm.json("engines", "dense")
    sha256 = engine["digest"].partition(":")[2].split("-")[0] or engine["digest"]
    (stored,) = (path for path in (farm.home / "artifacts").rglob(f"{sha256[:64]}*") if path.is_file())
    data = bytearray(stored.read_bytes())
    data[len(data) // 2] ^= 1
    stored.chmod(0o644)
    stored.write_bytes(data)

    output = tmp_path / "fetched.engine"
    said = farm.refused("fetch", "dense", "-o", output, code=7)
    assert "was altered" in said
    assert str(stored) in said
    assert [path.name for path in tmp_path.iterdir() if "engine" in path.name or "part" in path.name] == []

    output.write_text("the engine of yesterday")
    farm.refused("fetch", "dense", "-o", output, code=7)
    assert output.read_text() == "the engine of yesterday"


@pytest.mark.parametrize(
    ("words", "wanted", "differs", "hint"),
    [
        ("--precision fp16", "· fp16", "(differs in precision)", "`farm submit` builds one that fits"),
        ("--gpu sm89", "any-sm89", "(differs in device)", "`farm engines dense` lists all"),
        ("--toolchain onnxruntime@0.1", "onnxruntime@0.1", "(differs in toolchain)", ""),
        ("--gpu sm89 --precision fp16", "any-sm89 · fp16", "(differs in device and precision)", ""),
        ("--gpu h200", "unknown GPU 'h200'", "(differs in device)", "cpu-"),
    ],
)  # fmt: skip
def test_where_nothing_fits_the_difference_is_named(
    filled_home: FarmCommand, tmp_path: Path, words: str, wanted: str, differs: str, hint: str
) -> None:
    output = tmp_path / "dense.engine"
    said = filled_home.refused("fetch", "dense", "-o", output, *words.split(), code=3)
    assert "no engine of dense@1 fits" in said
    assert wanted in said
    assert "onnxruntime" in said.partition("there are:")[2]
    assert differs in said
    assert hint in said
    assert not output.exists()


def test_a_model_without_engines(farm: FarmCommand) -> None:
    farm.run("submit", models.save(GOOD, farm.folder / "net.onnx"), "--gpu", "cpu")
    said = farm.refused("fetch", "net", code=3)
    assert "no engine of net@1 is built yet" in said
    assert "`farm status` shows what is under way" in said


def test_a_new_version_without_engines_names_the_old_one(farm: FarmCommand) -> None:
    fast = fast_spec(farm.folder)
    farm.run("submit", models.save(GOOD, farm.folder / "net.onnx"), "--gpu", "cpu", "--local", "--spec", fast)
    newer = models.save(models.dense(5, batch=1), farm.folder / "net.onnx")
    farm.run("submit", newer, "--gpu", "cpu")
    assert "Version 1 has 1 engine(s): ask for net@1." in farm.refused("fetch", "net", code=3)
    assert farm.run("fetch", "net@1").out.startswith("net.engine: net@1")


def test_an_output_folder_that_is_not_there(filled_home: FarmCommand, tmp_path: Path) -> None:
    said = filled_home.refused("fetch", "dense", "-o", tmp_path / "no" / "dense.engine", code=6)
    assert f"there is no folder {tmp_path / 'no'}" in said
