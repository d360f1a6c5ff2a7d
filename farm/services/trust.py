"""Whether an engine may be handed out: somebody trusted signed just these bytes for just this key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm.domain.errors import UntrustedEngineError
from farm.domain.manifests import EngineManifest

if TYPE_CHECKING:
    from farm.domain.digests import Digest
    from farm.domain.filing import Engine
    from farm.domain.manifests import SignedManifest
    from farm.domain.specs import BuildSpec
    from farm.domain.work import ModelName
    from farm.services.ports import SignatureChecker


def check_engine(engine: Engine, spec: BuildSpec, keys: SignatureChecker) -> EngineManifest:
    """Checks what SQL says of an engine against what its worker signed. The bytes are the store's to check.

    Args:
        engine: as it is filed.
        spec: that was asked for.
        keys: that are trusted.

    Raises:
        UntrustedEngineError: it has no signature, none that counts, or one for something else.
    """
    if engine.signed is None:
        raise UntrustedEngineError(
            f"engine {engine.id} has no signature: a release before 0.2 filed it",
            hint="Submit the model again: it is built anew and signed. "
            "`farm fetch --allow-unsigned` hands it out as it is.",
        )
    return check_manifest(engine.signed, spec, engine.digest, keys)


def check_fetched(engine: Engine, name: ModelName, keys: SignatureChecker) -> EngineManifest:
    """As `check_engine`, for the engine that was found for a model.

    Raises:
        UntrustedEngineError: as there, or the engine is filed under a model that it was not built of.
    """
    if engine.spec.model_sha256 != name.model_sha256:
        raise UntrustedEngineError(
            f"engine {engine.id} is filed under {name}, but its key is another model's",
            hint="Somebody changed what SQL says of it. Nothing was handed out.",
        )
    return check_engine(engine, engine.spec, keys)


def check_manifest(
    signed: SignedManifest, spec: BuildSpec, engine: Digest, keys: SignatureChecker
) -> EngineManifest:
    """Checks a signature, and that it was given for a key and an engine's bytes.

    Raises:
        UntrustedEngineError: the signature does not count, or is for something else.
    """
    keys.check(signed)
    manifest = EngineManifest.from_json(signed.manifest)
    differing = manifest.differences(spec, engine)
    if differing:
        raise UntrustedEngineError(
            f"the engine is signed for something else: its manifest differs in {', '.join(differing)}",
            hint="Somebody changed what SQL says of it. Nothing was handed out; submit with another --salt.",
        )
    return manifest


def check_bytes(signed: SignedManifest, found: Digest, keys: SignatureChecker) -> EngineManifest:
    """Checks a manifest and a file beside it, with nothing but trusted keys.

    Raises:
        UntrustedEngineError: the signature does not count, or is for other bytes.
    """
    keys.check(signed)
    manifest = EngineManifest.from_json(signed.manifest)
    if manifest.engine != found:
        raise UntrustedEngineError(
            f"the manifest is for other bytes: {manifest.engine.short}…, {manifest.engine.size_bytes} bytes;"
            f" the file has {found.short}…, {found.size_bytes} bytes",
            hint="Do not load it. `farm fetch` gets the engine anew.",
        )
    return manifest
