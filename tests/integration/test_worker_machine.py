"""What a machine offers: devices by the operator's words, interpreters by probes, one worker per folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from farm.bootstrap import open_farm
from farm.domain.errors import (
    FolderInUseError,
    InvalidRequestError,
    StoreUnavailableError,
    UnsupportedTargetError,
)
from farm.domain.targets import DeviceKind, DeviceType
from farm.settings import read_settings
from tests.factories import a_cpu_toolchain, a_device, a_device_type, a_toolchain, an_l4
from tests.fake_nvml import FakeGpu, FakeNvml
from tests.fake_toolchain.harness import ROOT, Fake, wait_until
from workers.devices import describe_cpu
from workers.folder_lock import FolderLock
from workers.interpreters import (
    Interpreter,
    code_folder,
    command_of_child,
    probe_interpreter,
    probe_interpreters,
)
from workers.leftovers import sweep_scratch
from workers.materials import ReferenceCache, ReferenceKey
from workers.offers import choose_devices, offer_of, served_device_types
from workers.toolchain_list import ListedInterpreter

AHEAD = a_toolchain(
    name="tensorrt-rtx",
    version="1.7.1",
    serves=DeviceKind.COMPUTE_CAPABILITY,
    compute_capabilities=("12.0", "8.9", "10.0"),
)
CPU = a_device(a_device_type(DeviceKind.CPU), uuid="CPU-0")


def interpreter(path: str, *toolchains: object) -> Interpreter:
    """As a probe would describe it."""
    return Interpreter(Path(path), "3.11", toolchains, {})  # type: ignore[arg-type]


# Device types.


def test_a_gpu_is_served_where_a_toolchain_supports_its_compute_capability() -> None:
    assert served_device_types(a_device(), [a_toolchain()]) == (a_device_type(),)
    assert served_device_types(a_device(), [a_toolchain(compute_capabilities=("7.0", "8.9"))]) == ()
    assert served_device_types(a_device(), [a_cpu_toolchain()]) == ()


def test_a_cpu_builds_ahead_of_time_for_every_capability_in_their_numeric_order() -> None:
    found = served_device_types(CPU, [a_cpu_toolchain(), AHEAD])
    assert found == (CPU.device_type, *map(DeviceType.any_of, ("8.9", "10.0", "12.0")))


def test_a_gpu_builds_ahead_of_time_for_its_own_capability_alone() -> None:
    assert served_device_types(a_device(an_l4()), [AHEAD]) == (DeviceType.any_of("8.9"),)
    assert served_device_types(a_device(), [AHEAD]) == ()


def test_the_first_interpreter_that_has_a_toolchain_is_its_home() -> None:
    offer = offer_of(
        a_device(),
        [
            interpreter("/own", a_cpu_toolchain()),
            interpreter("/first", a_toolchain()),
            interpreter("/second", a_toolchain(), a_toolchain(version="11.4.0")),
        ],
    )
    homes = {str(id_): str(path) for id_, path in offer.toolchains.items()}
    assert homes["tensorrt 8.6.0"] == "/first"
    assert homes["tensorrt 11.4.0"] == "/second"
    # ONNX Runtime serves CPUs, and this worker has none.
    assert [str(d.id) for d in offer.descriptions] == ["tensorrt 8.6.0", "tensorrt 11.4.0"]


def test_a_device_that_nothing_serves_is_refused_with_what_is_missing() -> None:
    with pytest.raises(UnsupportedTargetError, match="no toolchain here serves nvidia-h200") as caught:
        offer_of(a_device(), [interpreter("/own", a_cpu_toolchain())])
    assert "--toolchain-python" in caught.value.hint


def test_the_cpu_is_chosen_by_kind_uuid_or_its_beginning_and_once() -> None:
    cpu = describe_cpu()
    for words in (["cpu"], [cpu.uuid], [cpu.uuid[:12].lower()], ["cpu", cpu.uuid, "all"]):
        assert cpu in choose_devices(words, with_cpu=False)
    assert len(choose_devices(["cpu", cpu.uuid], with_cpu=False)) == 1


def test_a_word_that_means_no_device_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="no device 'GPU-nowhere'"):
        choose_devices(["GPU-nowhere"], with_cpu=True)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with two GPUs beside its CPU."""
    nvml = FakeNvml([FakeGpu("NVIDIA H200", "GPU-aaaa"), FakeGpu("NVIDIA H200", "GPU-abbb")])
    monkeypatch.setitem(sys.modules, "pynvml", nvml)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("words", "with_cpu", "chosen"),
    [
        ([], False, ["GPU-aaaa", "GPU-abbb"]),
        ([], True, ["GPU-aaaa", "GPU-abbb", "cpu"]),
        (["gpu"], False, ["GPU-aaaa", "GPU-abbb"]),
        (["1"], False, ["GPU-abbb"]),
        (["gpu-ab"], False, ["GPU-abbb"]),
        (["GPU-a"], False, ["GPU-aaaa", "GPU-abbb"]),
        (["1", "all"], False, ["GPU-abbb", "GPU-aaaa", "cpu"]),
        (["cpu"], False, ["cpu"]),
    ],
)
def test_devices_are_chosen_by_index_kind_or_the_beginning_of_their_uuid(
    words: list[str], with_cpu: bool, chosen: list[str]
) -> None:
    cpu = describe_cpu().uuid
    found = [device.uuid for device in choose_devices(words, with_cpu=with_cpu)]
    assert found == [cpu if name == "cpu" else name for name in chosen]


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("word", ["2", "GPU-c", ""])
def test_a_word_that_means_no_gpu_is_refused(word: str) -> None:
    with pytest.raises(InvalidRequestError, match="this machine has no device"):
        choose_devices([word], with_cpu=True)


# Interpreters.


def program(path: Path, text: str) -> Path:
    """An executable."""
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "does not answer as a Python interpreter"),
        ("no program", "does not answer as a Python interpreter"),
        ("#!/bin/sh\nexit 3\n", "exit status 3"),
        ("#!/bin/sh\necho 'libpython is broken' >&2; exit 127\n", "libpython is broken"),
        ("#!/bin/sh\nprintf '\\377\\376' >&2; exit 1\n", "can not run the farm's child"),
        ("#!/bin/sh\nkill -SEGV $$\n", "exit status -11"),
    ],
)
def test_an_interpreter_that_does_not_work_is_refused_with_its_last_words(
    tmp_path: Path, text: str | None, words: str
) -> None:
    python = tmp_path / "python"
    if text is not None:
        program(python, text)
    with pytest.raises(InvalidRequestError, match=words):
        probe_interpreter(python, tmp_path / "scratch")


def test_an_interpreter_offers_what_loads_there(tmp_path: Path) -> None:
    found = probe_interpreter(Fake(tmp_path / "fake").python, tmp_path / "scratch")
    assert {description.id.name for description in found.toolchains} >= {"fake", "onnxruntime"}


def test_the_farms_own_interpreter_comes_first_and_every_one_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Fake(tmp_path / "fake").python
    # A relative path means the same in the folder of an attempt, and what lies around here is not imported.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json.py").write_text("raise RuntimeError('imported from where the user is')")
    found = probe_interpreters([Path("fake/python"), fake, Path(sys.executable)], tmp_path / "scratch")
    assert [i.path for i in found] == [Path(sys.executable), fake]


def test_what_a_file_says_of_an_interpreter_that_is_named_already_holds_for_it(tmp_path: Path) -> None:
    own = ListedInterpreter(Path(sys.executable), "the farm's own", ("0",), {"TRT_HINT": "8"})
    found = probe_interpreters([], tmp_path, [own])
    assert [(i.path, i.name, i.devices, i.environment) for i in found] == [
        (own.python, own.name, own.devices, own.environment)
    ]


def test_a_probe_leaves_nothing_in_scratch(tmp_path: Path) -> None:
    probe_interpreter(Path(sys.executable), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["code"]


# The folder of the child's code.


def test_processes_that_make_the_code_folder_at_once_all_get_it_whole(tmp_path: Path) -> None:
    make = (
        "import sys; from pathlib import Path; import farm, workers\n"
        "from workers.interpreters import code_folder\n"
        "for number in range(100):\n"
        "    folder = code_folder(Path(sys.argv[1]) / str(number))\n"
        "    assert (folder / 'farm' / '__init__.py').exists()\n"
        "    assert (folder / 'workers' / '__init__.py').exists()\n"
    )

    def run(_number: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", make, str(tmp_path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    with ThreadPoolExecutor(3) as pool:
        for done in pool.map(run, range(3)):
            assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "0" / "code").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["farm", "workers"]


def test_a_release_at_another_path_gets_its_own_code_and_leaves_that_of_running_workers_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import farm
    import workers

    before = code_folder(tmp_path)
    for package in (farm, workers):
        (tmp_path / "new" / package.__name__).mkdir(parents=True)
        monkeypatch.setattr(package, "__path__", [str(tmp_path / "new" / package.__name__)])
    after = code_folder(tmp_path)
    assert (after / "farm").resolve() == tmp_path / "new" / "farm"
    assert (before / "farm").resolve() == ROOT / "farm"
    assert code_folder(tmp_path) == after


def test_a_link_that_leads_elsewhere_is_mended(tmp_path: Path) -> None:
    folder = code_folder(tmp_path)
    (folder / "farm").unlink()
    (folder / "farm").symlink_to(tmp_path / "gone")
    assert (code_folder(tmp_path) / "farm").resolve() == ROOT / "farm"


def test_a_foreign_interpreter_sees_no_packages_of_the_user() -> None:
    request, result = Path("request"), Path("result")
    assert "-s" in command_of_child(Path("/opt/trt/bin/python"), request, result)
    assert "-s" not in command_of_child(Path(sys.executable), request, result)


# One worker per folder.

_HOLD = """
import sys, time
from pathlib import Path
from workers.folder_lock import FolderLock
with FolderLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_folder_has_one_worker_and_is_free_when_that_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(FolderInUseError, match=f"already has a worker: pid {holder.pid}"):
            FolderLock(tmp_path).__enter__()
        holder.send_signal(signal.SIGKILL)

    def free() -> bool:
        with FolderLock(tmp_path):
            return True

    assert wait_until(free)
    with FolderLock(tmp_path):
        assert (tmp_path / "worker.lock").read_text() == f"pid {os.getpid()}\n"


def test_a_folder_that_can_not_be_written_is_reported(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="can not be written") as caught:
        FolderLock(tmp_path / "nowhere").__enter__()
    assert "FARM_HOME" in caught.value.hint


def test_sweeping_scratch_leaves_what_is_no_attempts(tmp_path: Path) -> None:
    farm = open_farm(read_settings(tmp_path, {}))
    for name in ("j-1.1/model", "j-2.3", "references/abc", "code/x"):
        (farm.settings.scratch / name).mkdir(parents=True)
    sweep_scratch(farm)
    assert sorted(path.name for path in farm.settings.scratch.iterdir()) == ["code", "references"]


# References that a host keeps.


def reference(folder: Path, name: str, size: int = 1000) -> Path:
    """A finished reference."""
    made = folder / name
    made.mkdir(parents=True)
    (made / "outputs.npz").write_bytes(bytes(size))
    (made / "name.txt").write_text("onnxruntime 1 fp32")
    return made


def key(seed: int) -> ReferenceKey:
    """One of several."""
    return ReferenceKey("0" * 64, "", seed, {"x": (1, 4)}, "onnxruntime 1")


def test_a_reference_is_found_under_its_key_alone(tmp_path: Path) -> None:
    cache = ReferenceCache(tmp_path / "references")
    assert cache.find(key(0)) is None
    kept = cache.keep(key(0), reference(tmp_path, "made"))
    assert cache.find(key(0)) == kept
    assert cache.find(key(1)) is None
    assert not (tmp_path / "made").exists()


def test_of_two_who_computed_the_same_reference_the_first_is_kept(tmp_path: Path) -> None:
    cache = ReferenceCache(tmp_path / "references")
    first = cache.keep(key(0), reference(tmp_path, "one", 10))
    assert cache.keep(key(0), reference(tmp_path, "two", 20)) == first
    assert (first / "outputs.npz").stat().st_size == 10
    assert not (tmp_path / "two").exists()


def test_the_longest_unused_references_go_when_there_is_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.materials.REFERENCE_CACHE_BYTES", 2500)
    cache = ReferenceCache(tmp_path / "references")
    for seed in range(2):
        cache.keep(key(seed), reference(tmp_path, f"made{seed}"))
        os.utime(tmp_path / "references" / key(seed).name, (seed, seed))
    assert cache.find(key(0))  # used: now the other one is the oldest
    cache.keep(key(2), reference(tmp_path, "made2"))
    assert [cache.find(key(seed)) is not None for seed in range(3)] == [True, False, True]
    assert len(list((tmp_path / "references").iterdir())) == 2
