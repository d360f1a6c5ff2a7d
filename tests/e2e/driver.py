"""The `farm` command in processes of its own, as a user runs it."""

from __future__ import annotations

import atexit
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.tables import progress_as_json
from farm.bootstrap import open_farm
from farm.services.progress import submission_progress
from farm.settings import read_settings
from tests.e2e.prepared import Prepared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROOT = Path(__file__).parents[2]
#: Starting an interpreter and importing SQLAlchemy takes half a second; a loaded machine takes longer.
PATIENCE_S = 90.0


#: Commands that go on, or have children: they are started as users start them.
_LONG = ("up", "worker", "demo", "sweep", "metrics", "watch", "logs", "tune", "export", "completion")


@cache
def prepared_commands() -> Prepared:
    """The process that starts short commands of this test process; it ends with it."""
    prepared = Prepared({**os.environ, "PYTHONPATH": str(ROOT)})
    atexit.register(prepared.close)
    return prepared


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit status.
        out: standard output.
        err: standard error.
        seconds: how long it took.
    """

    code: int
    out: str
    err: str
    seconds: float = 0.0

    @property
    def document(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)

    def __str__(self) -> str:
        """For the message of a failed assertion."""
        return f"exit {self.code} after {self.seconds:.1f} s\n--- out\n{self.out}\n--- err\n{self.err}"


class Running:
    """A command that runs: its output so far, and its end."""

    def __init__(self, command: list[str], folder: Path, environment: Mapping[str, str]) -> None:
        self._begin = time.monotonic()
        name = f"{len(list(folder.glob('*.out')))}"
        self._out, self._err = folder / f"{name}.out", folder / f"{name}.err"
        with self._out.open("w") as out, self._err.open("w") as err:
            self._process = subprocess.Popen(
                command,
                cwd=folder.parent,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                # A group of its own: a signal for it must not reach the tests.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    @property
    def out(self) -> str:
        return self._out.read_text(errors="replace")

    @property
    def err(self) -> str:
        return self._err.read_text(errors="replace")

    def wait_for(self, pattern: str, patience_s: float = PATIENCE_S) -> re.Match[str]:
        """The first match in what it has written; fails if it ends or goes on without."""
        end = time.monotonic() + patience_s
        while True:
            alive = self.is_alive
            found = re.search(pattern, self.out + self.err, re.MULTILINE)
            if found:
                return found
            assert alive, f"ended without {pattern!r}: {self.end()}"
            assert time.monotonic() < end, f"no {pattern!r} in:\n{self.out}\n{self.err}"
            time.sleep(0.05)

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self, patience_s: float = PATIENCE_S) -> Ended:
        """Waits for its end."""
        try:
            code = self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still running after {patience_s} s:\n{self.out}\n{self.err}") from None
        return Ended(code, self.out, self.err, time.monotonic() - self._begin)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> Ended:
        """Ends it, and waits for that."""
        if self.is_alive:
            self.send(number)
        return self.end()

    def kill(self) -> None:
        """Ends it with all its processes, whatever it is doing."""
        if self.is_alive:
            self._process.kill()
        self._process.wait()


class FarmCommand:
    """The command, and the farm that it works on.

    Args:
        folder: for the farm, the output of commands, and files of the test.
        environment: variables beside those that every test sets.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.locks = folder / "locks"
        self._output = folder / "output"
        self._output.mkdir(parents=True, exist_ok=True)
        # What the whole test run says of children, such as that their coverage counts, holds here too.
        own = {name for name in os.environ if name.startswith("FARM_")} - {"FARM_CHILD_ENV"}
        inherited = {name: value for name, value in os.environ.items() if name not in own}
        self.environment = {
            **inherited,
            "PYTHONPATH": str(ROOT),
            "FARM_HOME": str(self.home),
            # No other test on this machine waits for this one's device.
            "FARM_LOCKS": str(self.locks),
            "FARM_USER": "tester",
            "COLUMNS": "200",
            "TMPDIR": str(self._output),
            **(environment or {}),
        }

    def start(self, *words: object, **environment: str) -> Running:
        """Starts a command and does not wait for it."""
        command = [sys.executable, "-m", "cli.main", *map(str, words)]
        return Running(command, self._output, {**self.environment, **environment})

    def run(self, *words: object, code: int | None = 0, **environment: str) -> Ended:
        """Runs a command to its end, which must be the one expected, and never a stack trace."""
        ended = self._prepared(words, environment) or self.start(*words, **environment).end()
        assert "Traceback" not in ended.err, str(ended)
        assert code is None or ended.code == code, f"{' '.join(map(str, words))}: {ended}"
        return ended

    def _prepared(self, words: tuple[object, ...], environment: Mapping[str, str]) -> Ended | None:
        """How a short command ended, started by a process that has imported it; none for one to be started from nothing."""
        everything = {**self.environment, **environment}
        is_short = words and words[0] not in _LONG and "--local" not in words
        differs = any(
            everything.get(name) != os.environ.get(name)
            for name in everything.keys() | os.environ.keys()
            if name.startswith(("PYTHON", "LANG", "LC_", "LD_")) and name != "PYTHONPATH"
        )
        if not is_short or differs or everything.get("PYTHONPATH") != str(ROOT):
            return None
        name = f"{len(list(self._output.glob('*.out')))}"
        out, err = self._output / f"{name}.out", self._output / f"{name}.err"
        begin, commands = time.monotonic(), prepared_commands()
        pid = commands.start(list(map(str, words)), self._output.parent, (out, err), everything)
        while (code := commands.poll(pid, 1.0)) is None:
            if time.monotonic() - begin > PATIENCE_S:
                os.kill(pid, signal.SIGKILL)
                raise AssertionError(
                    f"{words}: still running after {PATIENCE_S} s:\n{out.read_text()}\n{err.read_text()}"
                )
        texts = [path.read_text(errors="replace") for path in (out, err)]
        return Ended(code, texts[0], texts[1], time.monotonic() - begin)

    def refused(self, *words: object, code: int, **environment: str) -> str:
        """The error of a command that must fail: one line that says what, and perhaps one that says what to do."""
        ended = self.run(*words, code=code, **environment)
        lines = ended.err.splitlines()
        at = next(position for position, line in enumerate(lines) if line.startswith("error:"))
        assert all(line.startswith("hint:") for line in lines[at + 1 :]), str(ended)
        assert len(lines[at + 1 :]) <= 1, str(ended)
        return "\n".join(lines[at:])

    def json(self, *words: object, code: int = 0, **environment: str) -> Any:
        """What a command prints for programs."""
        return self.run(*words, "--json", code=code, **environment).document

    @contextmanager
    def up(self, *words: object, command: str = "up", **environment: str) -> Iterator[Running]:
        """A worker for the CPU, in a process of its own, ready for jobs; it must end well."""
        worker = self.start(command, "--device", "cpu", *words, **environment)
        try:
            worker.wait_for(r"worker w-\S+ .*serves")
            yield worker
            ended = worker.stop()
            assert ended.code in (0, -signal.SIGKILL), str(ended)
            assert "Traceback" not in ended.err, str(ended)
        finally:
            worker.kill()

    # What tests ask the farm

    def has_anything(self) -> bool:
        """Whether anything was submitted."""
        path = self.home / "farm.db"
        if not path.exists():
            return False
        with closing(sqlite3.connect(path)) as connection:
            query = "SELECT (SELECT count(*) FROM submissions) + (SELECT count(*) FROM jobs) + (SELECT count(*) FROM models)"
            return bool(connection.execute(query).fetchone()[0])

    def submissions(self) -> list[Any]:
        """All submissions, newest first; none if there is no farm yet."""
        if not (self.home / "farm.db").exists():
            return []
        found: list[Any] = self.json("status", "--limit", 100)
        return found

    def until(self, submission: str, condition: Callable[[Any], bool], patience_s: float = PATIENCE_S) -> Any:
        """The submission as soon as its first cell meets a condition."""
        # In this process: to start the command again and again would take the machine from what is waited for.
        farm = open_farm(read_settings(environment=self.environment), create=False)
        end = time.monotonic() + patience_s
        try:
            while True:
                with farm.database.reading() as transaction:
                    found = progress_as_json(submission_progress(transaction, submission))
                if condition(found["cells"][0]):
                    return found
                assert time.monotonic() < end, found
                time.sleep(0.05)
        finally:
            farm.database.close()

    def until_phase(self, submission: str, phase: str) -> Any:
        """The submission as soon as its first cell runs in a phase."""
        return self.until(submission, lambda cell: cell["phase"] == phase)


def fast_spec(folder: Path, **changes: Any) -> Path:
    """A spec file whose benchmark is short; everything else is the command line's."""
    return spec(folder, warmup_ms=1, duration_ms=20, interval_percent=100, **changes)


def slow_spec(folder: Path, seconds: float = 20.0, **changes: Any) -> Path:
    """A spec file whose benchmark takes so long."""
    return spec(folder, warmup_ms=1, duration_ms=int(1000 * seconds), interval_percent=100, **changes)


def spec(folder: Path, **values: Any) -> Path:
    """A spec file."""
    import yaml

    path = folder / f"spec-{len(list(folder.glob('spec-*.yaml')))}.yaml"
    path.write_text(yaml.safe_dump(values))
    return path
