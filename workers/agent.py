"""`farm worker`: finds devices and interpreters, registers, and runs a consumer."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from farm import __version__
from farm.bootstrap import open_signer
from farm.domain.errors import (
    FolderInUseError,
    InvalidRequestError,
    StoreUnavailableError,
    UnsupportedTargetError,
)
from farm.domain.identifiers import new_id
from farm.domain.jobs import JobState
from farm.domain.suggestions import did_you_mean
from farm.domain.targets import Device, DeviceKind, DeviceType, Target
from farm.domain.work import WorkerRegistration
from farm.logs import name_worker
from farm.services.dead_workers import bury_dead, keep_lost_logs
from workers.confinement import remove_folder
from workers.consumer import Consumer
from workers.devices import discover_devices
from workers.interpreters import code_folder, probe_interpreters
from workers.life_sign import LifeSign, clear_old, death_of, forget
from workers.pulse import Pulse
from workers.toolchain_list import FILE_NAME, read_toolchain_list
from workers.workplace import Workplace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from farm.bootstrap import Farm
    from farm.domain.targets import ToolchainId
    from farm.domain.toolchains import ToolchainDescription
    from farm.settings import Settings
    from workers.interpreters import Interpreter
    from workers.toolchain_list import ListedInterpreter

_log = logging.getLogger(__name__)
_DRAIN_POLL_S = 0.1
REFERENCE_TOOLCHAIN = "onnxruntime"


def choose_devices(words: Sequence[str], *, with_cpu: bool) -> list[Device]:
    """The devices of this machine that the words mean: a UUID, its beginning, an index, `gpu`, `cpu` or `all`.

    Args:
        words: what the operator wrote; none for all GPUs, and the CPU if there is no GPU.
        with_cpu: whether the CPU is served beside GPUs when no word is given.

    Raises:
        InvalidRequestError: a word means no device here.
    """
    found = discover_devices()
    gpus = [device for device in found if device.device_type.kind is DeviceKind.GPU]
    if not words:
        return found if with_cpu or not gpus else gpus
    chosen: list[Device] = []
    for word in words:
        matching = [device for device in found if is_meant(device, word)]
        if not matching:
            raise InvalidRequestError(
                f"this machine has no device {word!r}", hint=did_you_mean(word, [d.uuid for d in found])
            )
        chosen += [device for device in matching if device not in chosen]
    return chosen


def is_meant(device: Device, word: str) -> bool:
    """Whether a word means a device: its UUID, the beginning of it, a GPU's index, its kind, or `all`."""
    kind = device.device_type.kind
    return (
        word in ("all", kind.value)
        or bool(word and device.uuid.lower().startswith(word.lower()))
        or (kind is DeviceKind.GPU and word == str(device.index))
    )


def served_device_types(device: Device, toolchains: Sequence[ToolchainDescription]) -> tuple[DeviceType, ...]:
    """What a worker of a device builds for: the device itself, and capabilities built for ahead of time.

    A GPU's worker leaves other capabilities to the hosts without a GPU: its time is worth more.
    """
    capabilities = sorted(
        {
            capability
            for toolchain in toolchains
            if toolchain.serves is DeviceKind.COMPUTE_CAPABILITY
            for capability in toolchain.compute_capabilities
        },
        key=lambda capability: [int(number) for number in capability.split(".")],
    )
    if device.device_type.kind is DeviceKind.GPU:
        capabilities = [c for c in capabilities if c == device.device_type.compute_capability]
    candidates = [device.device_type, *map(DeviceType.any_of, capabilities)]
    return tuple(
        device_type for device_type in candidates if any(t.can_serve(device_type) for t in toolchains)
    )


@dataclass(frozen=True)
class Offer:
    """What a machine could serve.

    Attributes:
        device: the one device.
        toolchains: by id the interpreter it lives in; the first interpreter that has it wins.
        descriptions: of those toolchains.
        device_types: what it builds for.
        environments: of the toolchains whose children an operator gave more variables.
    """

    device: Device
    toolchains: dict[ToolchainId, Path]
    descriptions: tuple[ToolchainDescription, ...]
    device_types: tuple[DeviceType, ...]
    environments: dict[ToolchainId, Mapping[str, str]] = field(default_factory=dict)


def offer_of(device: Device, interpreters: Sequence[Interpreter]) -> Offer:
    """What a device and some interpreters come to.

    Raises:
        UnsupportedTargetError: nothing serves the device.
    """
    homes: dict[ToolchainId, Path] = {}
    descriptions: list[ToolchainDescription] = []
    environments: dict[ToolchainId, Mapping[str, str]] = {}
    for interpreter in interpreters:
        if interpreter.devices and not any(is_meant(device, word) for word in interpreter.devices):
            continue
        for toolchain in interpreter.toolchains:
            if toolchain.id not in homes:
                homes[toolchain.id] = interpreter.path
                environments[toolchain.id] = interpreter.environment
                descriptions.append(toolchain)
    device_types = served_device_types(device, descriptions)
    if not device_types:
        raise UnsupportedTargetError(
            f"no toolchain here serves {device.device_type.slug}",
            hint="Name an interpreter that has TensorRT: --toolchain-python PATH. `farm doctor` says what is missing.",
        )
    useful = tuple(d for d in descriptions if any(d.can_serve(type_) for type_ in device_types))
    return Offer(device, homes, useful, device_types, environments)


class RunningWorker:
    """A registered worker with its consumer running; a context manager.

    Args:
        farm: the open farm.
        offer: what it serves.
        interpreters: of the machine, the farm's own first.
        name: by which it is drained and resumed, the same after a restart; made of host and device if none.
    """

    def __init__(
        self,
        farm: Farm,
        offer: Offer,
        interpreters: Sequence[Interpreter],
        *,
        name: str = "",
    ) -> None:
        self._farm = farm
        self._offer = offer
        self.id = new_id("w")
        name_worker(self.id)
        self.stopping = threading.Event()
        # Before anything is registered: a worker without a key has nothing to offer.
        signer = open_signer(farm)
        own = interpreters[0]
        reference = next((t.id for t in own.toolchains if t.id.name == REFERENCE_TOOLCHAIN), None)
        self.name = name or worker_name(offer.device)
        self._pulse = Pulse(self.id, self.name)
        place = Workplace(
            farm=farm,
            worker_id=self.id,
            name=self.name,
            device=offer.device,
            interpreters=offer.toolchains,
            environments=offer.environments,
            reference_python=own.path,
            reference_toolchain=str(reference) if reference else "",
            code=code_folder(farm.settings.scratch),
            stopping=self.stopping,
            pulse=self._pulse,
            signer=signer,
        )
        registration = WorkerRegistration(
            id=self.id,
            name=self.name,
            host=farm.settings.host,
            pid=os.getpid(),
            device=offer.device,
            toolchains=offer.descriptions,
            device_types=offer.device_types,
            version=__version__,
        )
        # Before anybody knows of this worker, so that it is never taken for a dead one.
        self._life_sign = LifeSign(farm.settings.locks, self.id).give()
        with farm.database.transaction() as transaction:
            self.slugs = transaction.fleet.register(registration)
            # It may have been drained before it was started.
            self._pulse.beat(transaction)
        targets = [Target(type_, toolchain.id) for type_, toolchain in registration.targets]
        self.queues = sorted(target.queue for target in targets)
        self._consumer = Consumer(place, targets)

    @property
    def is_busy(self) -> bool:
        """Whether an attempt is running."""
        return self._consumer.is_busy

    @property
    def drain_reason(self) -> str:
        """Why it is to take nothing new; an empty text if it is not."""
        return self._pulse.drain_reason

    def drain(self, seconds: float, now: threading.Event) -> None:
        """Takes nothing new, and waits for what runs; no longer than so many seconds, or until `now` is set."""
        self._pulse.is_leaving = True
        end = time.monotonic() + seconds
        while self.is_busy and time.monotonic() < end and not now.wait(_DRAIN_POLL_S):
            pass

    def __enter__(self) -> Self:
        """Begins to take jobs; first those of dead workers of this host are taken from them."""
        bury_dead_of_host(self._farm, self._offer.device.host)
        self._consumer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives a running job back and leaves."""
        self._consumer.stop()
        self._life_sign.withdraw()


def bury_dead_of_host(farm: Farm, host: str) -> None:
    """Ends the attempts of workers of this host whose processes died, and keeps their logs.

    Raises:
        DatabaseUnavailableError: nobody can say what is running.
    """
    locks = farm.settings.locks
    for job, state in bury_dead(farm.database, host, lambda worker_id: death_of(locks, worker_id)):
        _log.warning(
            "job %s was taken from worker %s, which is dead; now %s", job.id, job.worker_id, state.value
        )
        keep_lost_logs(farm.database, farm.store, job.id)
        forget(locks, job.worker_id)
    clear_old(locks)


def worker_name(device: Device) -> str:
    """What a worker of a device is called: `gpu07-3` for the fourth GPU of gpu07, `gpu07-cpu` for its CPU."""
    position = "cpu" if device.device_type.kind is DeviceKind.CPU else str(device.index)
    return f"{device.host}-{position}"


def probe_machine(
    farm: Farm, pythons: Sequence[Path] = (), listed_in: Path | None = None
) -> list[Interpreter]:
    """The interpreters of this machine, the farm's own first.

    Args:
        farm: the open farm.
        pythons: that the operator names.
        listed_in: a file that lists more; the one of FARM_TOOLCHAINS, or in the farm's folder, if none.

    Raises:
        InvalidRequestError: one of those named does not work, or the file can not be read.
        StoreUnavailableError: the scratch folder can not be written.
    """
    try:
        farm.settings.scratch.mkdir(parents=True, exist_ok=True)
        return probe_interpreters(
            pythons, farm.settings.scratch, listed_interpreters(farm.settings, listed_in)
        )
    except OSError as error:
        raise StoreUnavailableError(
            f"the scratch folder {farm.settings.scratch} can not be written: {error.strerror}",
            hint="FARM_SCRATCH names another.",
        ) from error


def listed_interpreters(settings: Settings, listed_in: Path | None = None) -> list[ListedInterpreter]:
    """The interpreters that a file lists: a given one, or else that of the settings or in the farm's folder.

    Raises:
        InvalidRequestError: it can not be read, or does not say what it should.
    """
    named, usual = listed_in or settings.toolchains, settings.home / FILE_NAME
    if named is None and not usual.exists():
        return []
    return read_toolchain_list(named or usual)


def describe_machine(farm: Farm, pythons: Sequence[Path] = ()) -> None:
    """Files what this machine could serve, so that work can be queued before a worker runs."""
    interpreters = probe_machine(farm, pythons)
    for device in choose_devices((), with_cpu=True):
        try:
            offer = offer_of(device, interpreters)
        except UnsupportedTargetError as error:
            _log.info("%s", error)
            continue
        with farm.database.transaction() as transaction:
            transaction.fleet.describe(offer.device_types, offer.descriptions)


def sweep_scratch(farm: Farm) -> None:
    """Removes what attempts of killed workers left; what a running attempt of this host uses stays.

    Raises:
        DatabaseUnavailableError: nobody can say what is running.
    """
    leftovers = list(farm.settings.scratch.glob("j-*.*"))
    if not leftovers:
        return
    with farm.database.reading() as transaction:
        running = {f"{job.id}.{job.attempts}" for job in transaction.jobs.jobs(states=[JobState.RUNNING])}
    for leftover in leftovers:
        if leftover.name not in running:
            remove_folder(leftover)


class FolderLock:
    """One embedded worker per folder; the kernel frees it when the process ends, however it ends."""

    def __init__(self, home: Path) -> None:
        self._path = home / "worker.lock"
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        """Takes the folder.

        Raises:
            FolderInUseError: another process has it.
            StoreUnavailableError: the folder can not be written.
        """
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise StoreUnavailableError(
                f"the farm's folder can not be written: {self._path}: {error.strerror}",
                hint="Choose another with FARM_HOME or --home.",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 200).decode(errors="replace").strip() or "another process"
            os.close(descriptor)
            raise FolderInUseError(
                f"{self._path.parent} already has a worker: {holder}",
                hint="It serves what you submit; or choose another folder with --home.",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"pid {os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Frees the folder."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
