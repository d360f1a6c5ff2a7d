"""One attempt without a worker: a folder, and a child of the fake toolchain that builds in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.fake_toolchain.harness import Fake, is_alive
from workers.child.requests import AttemptRequest, attempt_request_as_json
from workers.child_process import ChildEvent, ChildOutcome, ChildProcess
from workers.interpreters import code_folder
from workers.toolchains.toolchain import BuildInput

if TYPE_CHECKING:
    from pathlib import Path

    pass


class Attempt:
    """One attempt's folder, and a child that builds in it."""

    def __init__(self, folder: Path, *script: str) -> None:
        self.fake = Fake(folder / "fake", *script)
        self.folder = folder / "attempt"
        self.folder.mkdir()
        (self.folder / "model.onnx").write_bytes(b"a model")
        self.events: list[ChildEvent] = []
        self.child: ChildProcess
        self._code = code_folder(folder)

    def start(self, **options: Any) -> ChildProcess:
        """Starts the child."""
        build = BuildInput(self.folder / "model.onnx", self.folder / "engine", "fp32")
        request = AttemptRequest("fake", "1.0.0", build.engine_path, build)
        self.child = ChildProcess(
            options.pop("python", self.fake.python),
            self.folder,
            "attempt",
            attempt_request_as_json(request),
            code=self._code,
            environment={},
            **options,
        )
        return self.child

    def end(self, *, deadline_s: float = 60.0, should_stop: Any = lambda: False) -> ChildOutcome:
        """Supervises it to its end."""
        outcome = self.child.supervise(
            deadline_s=deadline_s, should_stop=should_stop, on_tick=self.events.extend
        )
        assert not is_alive(self.child.pid)
        return outcome

    def run(self, **options: Any) -> ChildOutcome:
        """Start and end."""
        self.start()
        return self.end(**options)

    @property
    def log(self) -> str:
        """What the child wrote."""
        return (self.folder / "log.txt").read_text(errors="replace")
