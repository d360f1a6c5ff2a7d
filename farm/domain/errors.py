"""The one tree of errors; an error's class alone decides retry and exit code.

::

    FarmError                          the message says what happened and what to do next      exit 1
    ├─ InvalidRequestError             the caller can fix it; never retried                         2
    │   ├─ InvalidModelError           the ONNX file can not be taken
    │   ├─ InvalidSpecError            an option, shape, batch or precision is wrong
    │   └─ UnsupportedTargetError      no such GPU, toolchain or combination
    ├─ NotFoundError                   nothing is filed under what was asked for                    3
    │   └─ NoEngineFitsError           engines exist, none for this key
    ├─ ConflictError                   the state of things forbids it                               4
    │   ├─ IllegalTransitionError      a job or attempt can not go there from here
    │   ├─ AttemptSupersededError      a newer attempt owns the job
    │   ├─ FolderInUseError            another process owns this farm folder
    │   └─ SchemaVersionError          the database is on another schema than this release
    ├─ BuildError                      the toolchain refused; never retried, its log is kept        5
    │   └─ AccuracyError               the engine computes something else than the model
    ├─ TransientError                  another attempt may succeed: the only kind that is retried   6
    │   ├─ DatabaseUnavailableError
    │   ├─ StoreUnavailableError
    │   ├─ BrokerUnavailableError
    │   ├─ DeviceUnavailableError
    │   ├─ OutOfMemoryError            of the host or of the device
    │   ├─ DeadlineExceededError
    │   └─ ChildCrashedError           killed by a signal, or no result left behind
    ├─ CorruptArtifactError            bytes do not match their digest: stop and tell a person      7
    │   └─ UntrustedEngineError        nobody that this farm trusts has signed these bytes for this key
    └─ PoisonJobError                  a job that killed its workers is parked                      8

Any other exception is a bug of the farm and is never renamed into one of these.
"""

from __future__ import annotations

from typing import ClassVar


class FarmError(Exception):
    """Base of everything the farm reports to a person.

    Attributes:
        exit_code: what the command line exits with.
        failure_class: the class recorded on a failed attempt; see `farm.domain.jobs`.
        hint: what to do next, on a line of its own; may be empty.
    """

    exit_code: ClassVar[int] = 1
    failure_class: ClassVar[str] = "refused"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidRequestError(FarmError):
    """The caller can fix it; never retried."""

    exit_code = 2
    failure_class = "request"


class InvalidModelError(InvalidRequestError):
    """The ONNX file can not be taken."""


class InvalidSpecError(InvalidRequestError):
    """An option, shape, batch size or precision is wrong."""


class UnsupportedTargetError(InvalidRequestError):
    """No such GPU or toolchain, or one that can not do what is asked."""


class NotFoundError(FarmError):
    """Nothing is filed under what was asked for."""

    exit_code = 3
    failure_class = "request"


class NoEngineFitsError(NotFoundError):
    """Engines of the model exist, but none under this key."""


class ConflictError(FarmError):
    """The state of things forbids it."""

    exit_code = 4
    failure_class = "refused"


class IllegalTransitionError(ConflictError):
    """A job or an attempt can not go there from here."""


class AttemptSupersededError(ConflictError):
    """A newer attempt owns the job, so this one's writes are refused."""


class FolderInUseError(ConflictError):
    """Another process owns this farm folder."""


class SchemaVersionError(ConflictError):
    """The database is on another schema than this release of the farm."""


class BuildError(FarmError):
    """The toolchain refused; retrying will not help."""

    exit_code = 5
    failure_class = "refused"


class AccuracyError(BuildError):
    """The engine computes something else than the model."""


class TransientError(FarmError):
    """Another attempt may succeed: the only kind that is retried."""

    exit_code = 6
    failure_class = "transient"


class DatabaseUnavailableError(TransientError):
    """The database is down, locked, or can not be reached."""


class StoreUnavailableError(TransientError):
    """The artifact store is missing, full, or can not be written."""


class BrokerUnavailableError(TransientError):
    """The message broker can not be reached."""


class DeviceUnavailableError(TransientError):
    """The device is gone or held by somebody else."""


class OutOfMemoryError(TransientError):
    """The host or the device ran out of memory."""


class DeadlineExceededError(TransientError):
    """A phase took longer than it may."""


class ChildCrashedError(TransientError):
    """The child process died by a signal or left no result."""


class CorruptArtifactError(FarmError):
    """Bytes do not match their digest: stop and tell a person."""

    exit_code = 7
    failure_class = "corrupt"


class UntrustedEngineError(CorruptArtifactError):
    """Nobody that this farm trusts has signed these bytes for this key."""


class PoisonJobError(FarmError):
    """A job that killed its workers is parked with its evidence."""

    exit_code = 8
    failure_class = "poison"
