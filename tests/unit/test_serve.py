"""Several devices are served by a process each, which knows all that its parent was told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from farm.bootstrap import Farm
from farm.domain.errors import DeviceUnavailableError, UnsupportedTargetError
from farm.domain.targets import DeviceKind
from farm.settings import read_settings
from tests.factories import a_cpu_toolchain, a_device, a_device_type, a_toolchain
from tests.fakes import InMemoryArtifactStore, InMemoryDatabase
from workers import serve
from workers.interpreters import Interpreter
from workers.serve import ServeOptions, serve_devices
from workers.stopping import StopSignals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farm.domain.targets import Device

OWN = Interpreter(Path("/opt/farm/bin/python"), "3.11", (a_toolchain(), a_cpu_toolchain()), {})
GPUS = [a_device(uuid=f"GPU-{index}", index=index) for index in range(2)]
CPU = a_device(a_device_type(DeviceKind.CPU), uuid="CPU-0")


@pytest.fixture
def farm(tmp_path: Path) -> Farm:
    """In a folder, with locks of its own."""
    settings = read_settings(tmp_path, {"FARM_LOCKS": str(tmp_path / "locks")})
    return Farm(settings, InMemoryDatabase(), InMemoryArtifactStore())


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> dict[str, Sequence[str]]:
    """What would be started for each device."""
    seen: dict[str, Sequence[str]] = {}

    class Processes:
        def __init__(self, found: dict[str, Sequence[str]], *_more: Any) -> None:
            seen.update(found)

        def run(self, _stop: StopSignals) -> None:
            """Ends at once."""

    monkeypatch.setattr(serve, "DeviceProcesses", Processes)
    # The signals and the log of this process are pytest's.
    monkeypatch.setattr(StopSignals, "install", lambda self: self)
    monkeypatch.setattr(serve, "configure_logging", lambda _settings: None)
    return seen


def run(farm: Farm, devices: list[Device], options: ServeOptions, *interpreters: Interpreter) -> list[str]:
    """What is said."""
    said: list[str] = []
    serve_devices(farm, devices, interpreters or [OWN], options, tell=said.append, show=said.append)
    return said


def after(words: Sequence[str], option: str) -> list[str]:
    """What follows an option, wherever it stands."""
    return [words[at + 1] for at, word in enumerate(words) if word == option]


def test_a_process_per_device_with_a_name_of_its_own(farm: Farm, commands: dict[str, Sequence[str]]) -> None:
    said = run(farm, [*GPUS, CPU], ServeOptions(drain_s=90.0))
    assert said == ["3 workers, one per device; Ctrl-C stops them all", "stopped"]
    assert {uuid: after(words, "--name") for uuid, words in commands.items()} == {
        "GPU-0": ["host-a-0"],
        "GPU-1": ["host-a-1"],
        "CPU-0": ["host-a-cpu"],
    }
    for uuid, words in commands.items():
        assert after(words, "--device") == [uuid]
        assert after(words, "--drain-timeout") == ["90"]
        assert after(words, "--home") == [str(farm.settings.home)]
        assert "--of-a-host" in words, "so that it ends with its parent"


def test_a_name_and_interpreters_that_an_operator_gave_reach_every_process(
    farm: Farm, commands: dict[str, Sequence[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ServeOptions(
        name="rack3",
        pythons=[Path("trt/python"), Path("/opt/python")],
        listed_in=Path("listed.toml"),
        words=["--json"],
    )
    run(farm, GPUS, options)
    assert [after(words, "--name") for words in commands.values()] == [["rack3-0"], ["rack3-1"]]
    for words in commands.values():
        assert after(words, "--toolchain-python") == [str(tmp_path / "trt/python"), "/opt/python"]
        assert after(words, "--toolchains") == [str(tmp_path / "listed.toml")]
        assert words[-1] == "--json"


def test_a_device_that_nothing_serves_is_told_of_and_the_others_are_served(
    farm: Farm, commands: dict[str, Sequence[str]]
) -> None:
    gpus_only = Interpreter(OWN.path, "3.11", (a_toolchain(),), {})
    said = run(farm, [*GPUS, CPU], ServeOptions(), gpus_only)
    assert "no toolchain here serves" in said[0]
    assert set(commands) == {"GPU-0", "GPU-1"}


def test_where_nothing_is_served_at_all_nothing_is_started(
    farm: Farm, commands: dict[str, Sequence[str]]
) -> None:
    nothing = Interpreter(OWN.path, "3.11", (), {})
    with pytest.raises(UnsupportedTargetError, match="no toolchain here serves"):
        run(farm, GPUS, ServeOptions(), nothing)
    assert commands == {}


def test_a_folder_of_locks_that_can_not_be_used_is_told_of_before_any_job_fails_of_it(
    farm: Farm, commands: dict[str, Sequence[str]]
) -> None:
    farm.settings.locks.write_text("no folder")
    with pytest.raises(DeviceUnavailableError, match="can not lock GPU-0") as caught:
        run(farm, GPUS, ServeOptions())
    assert "FARM_LOCKS" in caught.value.hint
    assert commands == {}
