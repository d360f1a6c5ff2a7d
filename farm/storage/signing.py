"""Ed25519 keys: the private one of a worker in its file, public ones as text, and signatures on manifests."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from farm.domain.errors import ConflictError, InvalidRequestError, StoreUnavailableError, UntrustedEngineError
from farm.domain.identifiers import new_id
from farm.domain.manifests import SignedManifest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from farm.domain.manifests import EngineManifest

_FORM = re.compile(r"ed25519:([A-Za-z0-9+/]{43}=)")
#: A key file is a few lines; a larger one was named by mistake.
_LARGEST_BYTES = 1 << 20


@dataclass(frozen=True)
class PublicKey:
    """A public key.

    Attributes:
        raw: its 32 bytes.
    """

    raw: bytes

    @property
    def id(self) -> str:
        """Sha256 of its bytes, in hexadecimal."""
        return hashlib.sha256(self.raw).hexdigest()

    def __str__(self) -> str:
        """`ed25519:` and Base64, on one line."""
        return f"ed25519:{base64.b64encode(self.raw).decode()}"

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """The inverse of `str(key)`.

        Raises:
            InvalidRequestError: the text has another form.
        """
        found = _FORM.fullmatch(text.strip())
        if not found:
            raise InvalidRequestError(
                f"not a public key: {text.strip()[:60]!r}",
                hint="It looks like ed25519:… with 44 characters; `farm keys new` prints it.",
            )
        return cls(base64.b64decode(found[1]))


class Signer:
    """Signs manifests with a worker's private key."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public_key = PublicKey(private.public_key().public_bytes_raw())

    def sign(self, manifest: EngineManifest) -> SignedManifest:
        """The manifest with its signature."""
        unsigned = SignedManifest(manifest.as_json(), "", self.public_key.id)
        signature = base64.b64encode(self._private.sign(unsigned.signed_bytes)).decode()
        return SignedManifest(unsigned.manifest, signature, self.public_key.id)


class TrustedKeys:
    """The public keys whose signatures count. Implements `services.ports.SignatureChecker`.

    Args:
        keys: those that are trusted.
        revoked: ids of keys that count no more, whoever lists them.
    """

    def __init__(self, keys: Iterable[PublicKey], revoked: Iterable[str] = ()) -> None:
        self.revoked = frozenset(revoked)
        # By what the id follows from: an id that somebody wrote beside another key means nothing.
        self._keys = {key.id: key for key in keys if key.id not in self.revoked}

    def __contains__(self, key_id: str) -> bool:
        """Whether signatures of a key count."""
        return key_id in self._keys

    def check(self, signed: SignedManifest) -> None:
        """Checks who signed a manifest, and that it is what was signed.

        Raises:
            UntrustedEngineError: the key is unknown or revoked, or the signature does not hold.
        """
        short = signed.signing_key[:12]
        if signed.signing_key in self.revoked:
            raise UntrustedEngineError(
                f"the key {short} that signed the engine is revoked",
                hint="Submit the model again: a worker with a trusted key builds it anew.",
            )
        key = self._keys.get(signed.signing_key)
        if key is None:
            raise UntrustedEngineError(
                f"the engine is signed with the key {short or '(none)'}, which nobody here trusts",
                hint="`farm keys list` shows the trusted ones; FARM_TRUSTED_KEYS, where it is set, names them.",
            )
        try:
            signature = base64.b64decode(signed.signature, validate=True)
            Ed25519PublicKey.from_public_bytes(key.raw).verify(signature, signed.signed_bytes)
        except (InvalidSignature, ValueError) as error:
            raise UntrustedEngineError(
                f"the signature of key {short} does not hold: manifest or signature was altered",
                hint="Nothing was handed out. Find out who wrote it; then submit with another --salt.",
            ) from error


def read_public_keys(path: Path) -> list[PublicKey]:
    """A file of public keys, one a line; what follows the key is a comment, and so is a line that begins with #.

    Raises:
        InvalidRequestError: it can not be read, or a line holds something else.
    """
    found = []
    for line in _read(path, "the file of public keys").decode(errors="replace").splitlines():
        words = line.split()
        if words and not words[0].startswith("#"):
            found.append(PublicKey.parse(words[0]))
    return found


def read_signer(path: Path) -> Signer:
    """A private key from its file (PEM, PKCS 8), which nobody but its owner may read.

    Raises:
        InvalidRequestError: it can not be read, others may read it, or it holds something else.
    """
    data = _read(path, "the signing key")
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise InvalidRequestError(
            f"the signing key {path} may be read by others (mode {mode:04o})",
            hint=f"chmod 600 {path}; if somebody may have read it, make a new one with `farm keys new`.",
        )
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        # The error's own text may show what was in the file.
        raise InvalidRequestError(
            f"{path} does not hold an Ed25519 private key without a passphrase",
            hint="`farm keys new FILE` makes one.",
        ) from None
    return Signer(key)


def make_signer(path: Path) -> Signer:
    """Makes a private key in a new file, mode 0600; it appears complete or not at all.

    Raises:
        ConflictError: there is a file already.
        StoreUnavailableError: the folder can not be written.
    """
    private = Ed25519PrivateKey.generate()
    text = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    partial = path.with_name(new_id(".key"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        # A link, not a rename: of two that make it at once, one wins and the other hears of it.
        os.link(partial, path)
    except FileExistsError:
        raise ConflictError(
            f"{path} is there already", hint="Choose another name: a key is never replaced."
        ) from None
    except OSError as error:
        raise StoreUnavailableError(
            f"the signing key {path} can not be written: {error.strerror}", hint="Choose another folder."
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink()
    return Signer(private)


def _read(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise InvalidRequestError(
            f"{what} {path} can not be read: {error.strerror}",
            hint="Check the path, and that this user may read it.",
        ) from error
    if len(data) > _LARGEST_BYTES:
        raise InvalidRequestError(f"{what} {path} is too large to be one")
    return data
