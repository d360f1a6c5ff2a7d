"""A fleet whose every part is a process of its own: workers, clients, sweepers over one database, broker and store."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy.exc import SQLAlchemyError

from farm.bootstrap import make_farm, open_farm
from farm.domain.identifiers import new_id
from tests.chaos.documents import settings_as_document
from tests.chaos.evidence import Evidence, children_of, read_notes, read_sql, read_store, unfinished
from tests.chaos.members import Member, Release
from tests.fake_toolchain.harness import CPU, Fake, settings_in, with_signing_key, write_model
from tests.fake_toolchain.toolchain import DESCRIPTION
from workers.leftovers import sweep_scratch

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from farm.domain.targets import DeviceType
    from farm.domain.toolchains import ToolchainDescription
    from farm.settings import Settings

LEASE_S = 2.0
_POLL_S = 0.1
_STOP_S = 30.0
#: Until the last kernel object of what was killed is gone.
_BURIAL_S = 15.0
#: A job may be tried so often: faults cost attempts, and a job that ran out of them would prove nothing.
MAX_ATTEMPTS = 12


class Fleet:
    """Everything of one ordeal; a context manager that leaves no process behind.

    Args:
        folder: for all its files.
        rng: of the ordeal.
        schema: the revision that its database begins with.
        serves: the type of device that clients ask for, and its toolchain.
        settings: of the farm, beside the folder: database and broker, and what else differs.
    """

    def __init__(
        self,
        folder: Path,
        rng: random.Random,
        *,
        schema: str = "head",
        serves: tuple[DeviceType, ToolchainDescription] = (CPU, DESCRIPTION),
        **settings: Any,
    ) -> None:
        self.folder = folder
        self._serves = serves
        self.rng = rng
        self.members: list[Member] = []
        self.faults: list[str] = []
        self._clients = 0
        self._salt = new_id("salt")
        wanted = {"lease_s": LEASE_S, "locks": folder / "locks", **settings}
        self.settings: Settings = settings_in(folder / "home", **wanted)
        self.settings.home.mkdir(parents=True, exist_ok=True)
        self._is_new = schema == "head"
        make_farm(self.settings, schema)
        self.model = write_model(folder / "model.onnx")
        self.fake = Fake(folder / "fake")

    def __enter__(self) -> Self:
        """Makes ready what clients and workers need, unless its schema is still an old one."""
        if self._is_new:
            self._prepare()
        return self

    def upgrade(self) -> None:
        """Moves its schema up to this release's."""
        make_farm(self.settings)
        self._prepare()

    def _prepare(self) -> None:
        """Makes its key and the targets that clients ask for known."""
        self.settings = with_signing_key(self.settings)
        farm = open_farm(self.settings)
        with farm.database.transaction() as transaction:
            transaction.fleet.describe(self._serves[:1], self._serves[1:])
        farm.database.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends every process."""
        for member in self.members:
            member.kill()
        for pid in self.children():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    # Who takes part

    def worker(
        self,
        *,
        failpoints: str = "",
        device: str = "",
        module: str = "tests.fake_toolchain.worker_process",
        release: Release | None = None,
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        **changes: Any,
    ) -> Member:
        """Starts a worker with a device of its own, or with that of one that is gone.

        Args:
            failpoints: where it dies, freezes or fails.
            device: UUID; a new one if empty.
            module: that it runs.
            release: another one than this tree.
            environment: more variables.
            prefix: words before its command.
            changes: of its settings.
        """
        settings = self._settings(failpoints=failpoints, **changes)
        only = release.settings if release else None
        document = {
            "settings": settings_as_document(settings, only),
            "device": device or new_id("CPU-test"),
            "fake": str(release.fake.control if release else self.fake.control),
            # Of its own, as every device of a real fleet has: it is drained and resumed by it.
            "options": {} if release else {"name": f"worker-{len(self.members)}"},
        }
        return self._start(
            Member("worker", module, document, self.folder / "logs",
                   cwd=release.folder if release else None, environment=environment, prefix=prefix)
        )  # fmt: skip

    def client(
        self,
        count: int,
        *,
        failpoints: str = "",
        keys: int = 0,
        gap_s: float = 0.3,
        deadline_s: float = 60.0,
        max_attempts: int = MAX_ATTEMPTS,
        **changes: Any,
    ) -> Member:
        """Starts a client that submits so often; half as many keys as submissions, so that some ask for the same."""
        self._clients += 1
        name = f"client-{self._clients}"
        document = {
            "settings": settings_as_document(self._settings(failpoints=failpoints, **changes)),
            "name": name,
            "seed": self.rng.getrandbits(32),
            "count": count,
            "keys": keys or max(1, count // 2 + 1),
            "salt": self._salt,
            "gap_s": gap_s,
            "deadline_s": deadline_s,
            "max_attempts": max_attempts,
            "model": str(self.model),
            "notes": str(self.folder / f"{name}.notes"),
        }
        return self._start(Member("client", "tests.chaos.client_process", document, self.folder / "logs"))

    def sweeper(self, *, failpoints: str = "", **changes: Any) -> Member:
        """Starts a sweeper without a device."""
        document = {"settings": settings_as_document(self._settings(failpoints=failpoints, **changes))}
        return self._start(Member("sweeper", "tests.chaos.sweeper_process", document, self.folder / "logs"))

    def again(self, member: Member) -> Member:
        """Starts a worker that is gone anew, on its device and without its failpoints."""
        member.replaced = True
        return self.worker(device=member.document["device"])

    def _settings(self, **changes: Any) -> Settings:
        return replace(self.settings, **changes)

    def _start(self, member: Member) -> Member:
        self.members.append(member)
        member.start()
        return member

    def alive(self, kind: str) -> list[Member]:
        """Its processes of a kind that have not ended."""
        return [member for member in self.members if member.kind == kind and member.is_alive]

    def wait_until_ready(self) -> None:
        """Until everybody who lives does what it is there for."""
        for member in self.members:
            member.wait_until_ready()

    # What is done to it

    def fault(self, what: str) -> None:
        """Notes a fault that was injected."""
        self.faults.append(what)

    def children(self) -> list[int]:
        """Process ids of all that its workers' children are or started."""
        return children_of({self.settings.scratch, *(m.scratch for m in self.members if m.scratch)})

    def pause(self, least_s: float, most_s: float) -> None:
        """Lets the fleet work for a while."""
        time.sleep(self.rng.uniform(least_s, most_s))

    # How it ends

    def come_to_rest(self, patience_s: float, *, resumes: bool = False) -> float:
        """Waits until clients have said all and no job is left; how long that took, in seconds.

        Args:
            patience_s: after so long it gives up: what is left then is for the checker to tell.
            resumes: whether somebody lets workers go on that drained themselves.
        """
        begin = time.monotonic()
        while time.monotonic() < begin + patience_s:
            with suppress(SQLAlchemyError):
                if not self.alive("client") and unfinished(self.settings.database_url) == 0:
                    break
            if resumes:
                self._resume()
            time.sleep(_POLL_S)
        return time.monotonic() - begin

    def wait_for_success(self, patience_s: float) -> None:
        """Until an attempt has succeeded; it must within so many seconds."""
        end = time.monotonic() + patience_s
        while True:
            evidence = Evidence()
            read_sql(self.settings.database_url, evidence)
            if any(attempt.state == "SUCCEEDED" for attempt in evidence.attempts):
                return
            assert time.monotonic() < end, "nobody builds anything"
            time.sleep(_POLL_S)

    def _resume(self) -> None:
        farm = open_farm(self.settings)
        with farm.database.transaction() as transaction:
            for worker in transaction.fleet.workers():
                if worker.drain_reason:
                    transaction.fleet.resume(worker.name)
        farm.database.close()

    def stop(self) -> None:
        """Stops everybody in an orderly way; whoever does not obey is complained of."""
        alive = [member for member in self.members if member.is_alive]
        for member in alive:
            member.signal(signal.SIGCONT)
            member.signal(signal.SIGTERM)
        end = time.monotonic() + _STOP_S
        for member in alive:
            member.wait(max(end - time.monotonic(), 0.1))

    def evidence(self) -> Evidence:
        """All that is left of it, once it was stopped; the next start of a worker has tidied its scratch folder."""
        evidence = Evidence(acknowledged=read_notes(self.folder.glob("*.notes")))
        read_sql(self.settings.database_url, evidence)
        evidence.stored = read_store(self.settings.store)  # type: ignore[arg-type]
        end = time.monotonic() + _BURIAL_S
        while (left := self.children()) and time.monotonic() < end:
            time.sleep(_POLL_S)
        evidence.children = left
        for scratch in {self.settings.scratch, *(m.scratch for m in self.members if m.scratch)}:
            farm = open_farm(self._settings(scratch=scratch))
            sweep_scratch(farm)
            farm.database.close()
            evidence.leftovers += [path.name for path in scratch.glob("j-*")]
        evidence.complaints = [text for member in self.members for text in member.complaints()]
        return evidence
