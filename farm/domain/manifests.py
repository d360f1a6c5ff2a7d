"""Manifests: what a worker states about an engine that it built, and signs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Mapping

from farm.domain.digests import Digest, canonical_json
from farm.domain.errors import InvalidRequestError, UntrustedEngineError
from farm.domain.targets import DeviceType, ToolchainId

if TYPE_CHECKING:
    from farm.domain.specs import BuildSpec

#: Of the manifest's form; another number is another set of fields.
MANIFEST_VERSION = 1
_FIELDS = frozenset(
    {
        "version",
        "key",
        "model",
        "engine",
        "toolchain",
        "device_type",
        "precision",
        "job",
        "attempt",
        "worker",
        "host",
        "made_at",
    }
)


@dataclass(frozen=True)
class EngineManifest:
    """Which engine a worker built, of what, and when.

    Attributes:
        key: sha256 of the build spec.
        model_sha256: of the model's content; the key follows from it as well.
        engine: digest of the plan's bytes.
        toolchain: that built it, in its exact version.
        device_type: that it was built for.
        precision: as asked for.
        job_id: of the build.
        attempt: number of the attempt, from 1.
        worker_id: that built it.
        host: name of the worker's machine.
        made_at: the database's clock, ISO 8601 in UTC.
    """

    key: str
    model_sha256: str
    engine: Digest
    toolchain: ToolchainId
    device_type: DeviceType
    precision: str
    job_id: str
    attempt: int
    worker_id: str
    host: str
    made_at: str

    def as_json(self) -> dict[str, Any]:
        """What is signed, by way of its canonical JSON."""
        return {
            "version": MANIFEST_VERSION,
            "key": self.key,
            "model": self.model_sha256,
            "engine": str(self.engine),
            "toolchain": self.toolchain.as_json(),
            "device_type": self.device_type.as_json(),
            "precision": self.precision,
            "job": self.job_id,
            "attempt": self.attempt,
            "worker": self.worker_id,
            "host": self.host,
            "made_at": self.made_at,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> EngineManifest:
        """The inverse of `as_json`.

        Raises:
            UntrustedEngineError: it is no manifest that this release reads.
        """
        if value.get("version") != MANIFEST_VERSION or set(value) != _FIELDS:
            raise UntrustedEngineError(
                f"not a manifest of version {MANIFEST_VERSION}: version {value.get('version')!r}",
                hint="Is engine-farm on this machine as new as the one that built the engine?",
            )
        try:
            return cls(
                key=value["key"],
                model_sha256=value["model"],
                engine=Digest.parse(value["engine"]),
                toolchain=ToolchainId.from_json(value["toolchain"]),
                device_type=DeviceType.from_json(value["device_type"]),
                precision=value["precision"],
                job_id=value["job"],
                attempt=value["attempt"],
                worker_id=value["worker"],
                host=value["host"],
                made_at=value["made_at"],
            )
        except (TypeError, ValueError, AttributeError, KeyError, InvalidRequestError) as error:
            raise UntrustedEngineError(f"the manifest can not be read: {error}") from error

    def differences(self, spec: BuildSpec, engine: Digest) -> list[str]:
        """What it says otherwise than a key and an engine's bytes; empty for the manifest of just these."""
        pairs = {
            "key": (self.key, spec.digest.sha256),
            "model": (self.model_sha256, spec.model_sha256),
            "bytes": (self.engine, engine),
            "toolchain": (self.toolchain, spec.target.toolchain),
            "device type": (self.device_type, spec.target.device_type),
            "precision": (self.precision, spec.precision),
        }
        return [name for name, (said, wanted) in pairs.items() if said != wanted]


@dataclass(frozen=True)
class SignedManifest:
    """A manifest as it was filed or read, with the signature that is to be checked.

    Attributes:
        manifest: the document; nobody vouches for it before the signature is verified.
        signature: Ed25519 over `signed_bytes`, in Base64.
        signing_key: id of the public key: sha256 of its 32 bytes.
    """

    manifest: Mapping[str, Any]
    signature: str
    signing_key: str

    @property
    def signed_bytes(self) -> bytes:
        """What the signature covers.

        Raises:
            UntrustedEngineError: no worker writes such a document.
        """
        try:
            return canonical_json(dict(self.manifest))
        except (InvalidRequestError, RecursionError) as error:
            raise UntrustedEngineError(f"the manifest is not canonical JSON: {error}") from error

    def as_json(self) -> dict[str, Any]:
        """The file that `farm fetch --manifest` writes and `farm verify` reads."""
        return {
            "manifest": dict(self.manifest),
            "signature": self.signature,
            "signing_key": self.signing_key,
        }

    @classmethod
    def from_json(cls, value: Any) -> SignedManifest:
        """The inverse of `as_json`.

        Raises:
            UntrustedEngineError: it is another document.
        """
        wanted = {"manifest": dict, "signature": str, "signing_key": str}
        is_one = isinstance(value, dict) and set(value) == set(wanted)
        if not is_one or not all(isinstance(value[name], kind) for name, kind in wanted.items()):
            raise UntrustedEngineError(
                "this is not a signed manifest", hint="`farm fetch MODEL --manifest FILE` writes one."
            )
        return cls(value["manifest"], value["signature"], value["signing_key"])
