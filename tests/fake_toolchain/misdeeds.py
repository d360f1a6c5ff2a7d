"""What a toolchain does that a hostile model has taken over, or that is merely broken: beyond its limits."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Callable, Dict  # noqa: UP035 - also runs under Python 3.10


def _control() -> Path:
    from tests.fake_toolchain import toolchain

    return toolchain.CONTROL


def _note(name: str, text: str) -> None:
    partial = _control() / f".{name}.{os.getpid()}"
    partial.write_text(text)
    partial.replace(_control() / name)


def _tell() -> None:
    """What the child was given, for the test to look at."""
    names = ("RLIMIT_CORE", "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_NOFILE")
    _note(
        "told",
        json.dumps(
            {
                "environment": dict(os.environ),
                "limits": {name: resource.getrlimit(getattr(resource, name)) for name in names},
                "umask": os.umask(0o022),
                "python": list(sys.version_info[:2]),
            }
        ),
    )


def _eat() -> None:
    held = []
    while True:
        held.append(b"\1" * (8 << 20))
        time.sleep(0.005)


def _eat_in_a_daemon() -> None:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            _note("grandchild", str(os.getpid()))
            _eat()
        os._exit(0)
    os.wait()
    time.sleep(1000)


def _fill_the_disk() -> None:
    number = 0
    while True:
        number += 1
        Path(f"rubbish-{number}").write_bytes(b"\1" * (1 << 20))


def _write_a_large_file() -> None:
    with Path("large").open("wb") as stream:
        for _ in range(2 << 10):
            stream.write(b"\1" * (1 << 20))


def _spin() -> None:
    while True:
        pass


def _forgetful_daemon() -> None:
    """A session of its own, another parent, an empty environment: nothing says whose it is."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            _note("grandchild", str(os.getpid()))
            os.execve("/bin/sleep", ["sleep", "1000"], {})  # noqa: S606 - its name is a test's own
        os._exit(0)
    os.wait()
    while not (_control() / "grandchild").exists():
        time.sleep(0.01)


def _family() -> None:
    """Children, grandchildren and daemons of every kind, all of which would outlive their worker; then it hangs."""
    for number in range(3):
        if os.fork() == 0:
            for ignored in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(ignored, signal.SIG_IGN)
            if number:
                os.setsid()
            if number == 2:
                if os.fork():
                    os._exit(0)
                _note(f"relative-{number}", str(os.getpid()))
                os.execve("/bin/sleep", ["sleep", "1000"], {})  # noqa: S606 - its name is a test's own
            _note(f"relative-{number}", str(os.getpid()))
            time.sleep(1000)
    while len(list(_control().glob("relative-*"))) < 3:
        time.sleep(0.01)
    _note("grown", "up")
    time.sleep(1000)


def _change_the_model() -> None:
    model = next(path for path in Path.cwd().rglob("*.onnx"))
    model.chmod(0o644)
    model.write_bytes(model.read_bytes() + b" ")


def _look_at_the_model() -> None:
    model = next(path for path in Path.cwd().rglob("*.onnx"))
    _note("rights", f"{model.stat().st_mode & 0o777:o} {model.parent.stat().st_mode & 0o777:o}")


def _kill_the_guardian() -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(1000)


MISDEEDS: Dict[str, Callable[[], None]] = {  # noqa: UP006 - as above
    "tell": _tell,
    "eat": _eat,
    "eat in a daemon": _eat_in_a_daemon,
    "fill the disk": _fill_the_disk,
    "write a large file": _write_a_large_file,
    "spin": _spin,
    "forgetful daemon": _forgetful_daemon,
    "family": _family,
    "change the model": _change_the_model,
    "look at the model": _look_at_the_model,
    "kill the guardian": _kill_the_guardian,
}
