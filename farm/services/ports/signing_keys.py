"""Keys that sign engines, as the services need them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from farm.domain.filing import SigningKey
    from farm.domain.manifests import SignedManifest


class SigningKeys(Protocol):
    """Public keys whose signatures on engines count."""

    def add(self, key_id: str, public_key: str, note: str) -> bool:
        """Trusts a key; false if it is there already, revoked or not."""

    def all(self) -> list[SigningKey]:
        """Every key, the revoked ones too, oldest first."""

    def revoke(self, prefix: str) -> str:
        """Makes a key count no more, for good; its whole id. Raises NotFoundError."""


class SignatureChecker(Protocol):
    """Knows the keys that are trusted."""

    def check(self, signed: SignedManifest) -> None:
        """Raises UntrustedEngineError unless a trusted key signed just this manifest."""
