"""References that all hosts share: what a model computes from some inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from farm.domain.digests import Digest

#: One that nobody was lent for so long gives its bytes up when garbage is collected.
KEPT_S = 90 * 86400.0


class StoredReference(NamedTuple):
    """A reference that some host has computed.

    Attributes:
        digest: of the archive of its outputs, and of its inputs where they were made.
        name: what computed it, such as `onnxruntime 1.23.2 fp32`.
    """

    digest: Digest
    name: str
