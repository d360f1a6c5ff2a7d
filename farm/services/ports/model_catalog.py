"""Models and their names, as the services need them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from farm.domain.models import Model
    from farm.domain.work import ModelName


class ModelCatalog(Protocol):
    """Models and their names."""

    def add(self, model: Model) -> None:
        """Files a model; the same content twice is the same model."""

    def get(self, sha256: str) -> Model:
        """A model by its content. Raises NotFoundError."""

    def alike(self, model: Model) -> list[str]:
        """The other models of the same structure, by digest, newest first; none where nobody knows the structure."""

    def name(self, name: str, sha256: str) -> ModelName:
        """What the name means from now on: its latest version, or a new one for other content."""

    def named(self, reference: str) -> ModelName:
        """`resnet50`, `resnet50@2` or a digest's first digits. Raises NotFoundError."""

    def names(self) -> list[ModelName]:
        """Every version of every name, newest last."""
