"""A confined child knows no secret, and has its limits before its first line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.fake_toolchain.harness import ROOT
from workers.confinement import Limits, guarded

if TYPE_CHECKING:
    from tests.fake_toolchain.attempt import Attempt

MIB = 1 << 20


def told(attempt: Attempt) -> dict[str, Any]:
    """What the child said that it was given."""
    found: dict[str, Any] = json.loads((attempt.fake.control / "told").read_text())
    return found


_SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "1",
    "AWS_PROFILE": "2",
    "PGPASSWORD": "3",
    "GITHUB_TOKEN": "4",
    "FARM_DATABASE_URL": "postgresql://me:secret@db/farm",
    "FARM_SIGNING_KEY": "/etc/farm/signing.key",
    "NVIDIA_API_KEY": "5",
    "CUDA_TOKEN": "6",
    "SSH_AUTH_SOCK": "7",
    "KUBERNETES_SERVICE_HOST": "8",
    "LD_PRELOAD": "",
}


def test_a_child_inherits_what_a_toolchain_needs_and_nothing_else(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = {
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "LD_LIBRARY_PATH": "/opt/lib",
        "CUDA_CACHE_PATH": "/c",
        "OMP_NUM_THREADS": "2",
    }
    for name, value in {**_SECRETS, **needed}.items():
        monkeypatch.setenv(name, value)
    attempt = make("tell")
    assert attempt.run().failure is None
    environment = told(attempt)["environment"]
    assert not set(_SECRETS) & set(environment)
    assert {name: environment[name] for name in needed} == needed
    assert environment["PATH"] == os.environ["PATH"]
    for name, folder in {"HOME": "home", "TMPDIR": "tmp"}.items():
        assert environment[name] == str(attempt.folder / folder)
        assert (attempt.folder / folder).stat().st_mode & 0o777 == 0o700


def test_an_operator_lets_more_variables_through_by_their_names(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARM_CHILD_ENV", "VENDOR_LICENCE, FARM_DATABASE_URL")
    monkeypatch.setenv("VENDOR_LICENCE", "27000@host")
    monkeypatch.setenv("FARM_DATABASE_URL", "postgresql://me:secret@db/farm")
    attempt = make("tell")
    attempt.run()
    environment = told(attempt)["environment"]
    assert environment["VENDOR_LICENCE"] == "27000@host"
    assert not [name for name in environment if name.startswith("FARM_")]


def test_a_child_has_its_limits_before_its_first_line(make: Any) -> None:
    attempt = make("tell")
    attempt.start(limits=Limits(file_bytes=5 * MIB, cpu_s=77, open_files=99))
    attempt.end()
    limits = told(attempt)["limits"]
    assert limits["RLIMIT_CORE"] == [0, 0]
    assert limits["RLIMIT_FSIZE"] == [5 * MIB, 5 * MIB]
    assert limits["RLIMIT_NOFILE"] == [99, 99]
    assert limits["RLIMIT_CPU"][0] == 77


def test_a_segfault_leaves_no_core(make: Any) -> None:
    attempt = make("segfault")
    outcome = attempt.run()
    assert outcome.failure is not None
    assert "SIGSEGV" in outcome.failure.message
    assert not list(attempt.folder.rglob("core*"))


def test_a_guardian_confines_another_python_than_its_own() -> None:
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = [*sorted(root.glob("versions/3.10.*/bin/python3.10")), shutil.which("python3.10")]
    python = next((path for path in found if path), None)
    if python is None:
        pytest.skip("no Python 3.10 on PATH or under PYENV_ROOT")
    program = "import resource, sys; print(sys.version_info[:2], resource.getrlimit(resource.RLIMIT_NOFILE))"
    command = guarded([str(python), "-c", program], Limits(open_files=99))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as guardian:
        assert guardian.stdout is not None
        said = guardian.stdout.read().decode()
    assert guardian.returncode == 0
    assert said == "(3, 10) (99, 99)\n"


def test_a_worker_hides_its_memory_and_environment_from_its_children() -> None:
    program = (
        "import ctypes\nfrom workers.confinement import hide_this_process\n"
        "libc = ctypes.CDLL(None)\nbefore = libc.prctl(3, 0, 0, 0, 0)\nhide_this_process()\n"
        "print(before, libc.prctl(3, 0, 0, 0, 0))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "0"]
