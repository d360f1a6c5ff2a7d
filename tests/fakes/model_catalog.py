"""The in-memory stand-in for `ModelCatalog`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm.domain.errors import InvalidRequestError, NotFoundError
from farm.domain.suggestions import did_you_mean
from farm.domain.work import ModelName

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from farm.domain.models import Model
    from tests.fakes.tables import Tables


class InMemoryModelCatalog:
    """Implements `ModelCatalog`."""

    def __init__(self, tables: Tables, now: Callable[[], datetime]) -> None:
        self._tables = tables
        self._now = now

    def add(self, model: Model) -> None:
        """The same content twice is the same model."""
        for file in model.files:
            self._tables.artifacts.setdefault(file.digest.sha256, file.digest)
        self._tables.models.setdefault(model.digest.sha256, model)

    def get(self, sha256: str) -> Model:
        """A model by its content."""
        if sha256 not in self._tables.models:
            raise NotFoundError(f"no model {sha256[:12]} is filed")
        return self._tables.models[sha256]

    def alike(self, model: Model) -> list[str]:
        """The other models of the same structure, newest first."""
        known = reversed(self._tables.models.values())
        return [
            other.digest.sha256
            for other in known
            if other.digest != model.digest and other.structure_sha256 == model.structure_sha256 != ""
        ]

    def name(self, name: str, sha256: str) -> ModelName:
        """The latest version, or a new one for other content."""
        versions = self._versions(name)
        if versions and versions[-1].model_sha256 == sha256:
            return versions[-1]
        added = ModelName(name, len(versions) + 1, self.get(sha256).digest.sha256, self._now())
        self._tables.names.append(added)
        return added

    def named(self, reference: str) -> ModelName:
        """By name, by name and version, or by a digest's first digits."""
        name, at, version = reference.partition("@")
        if at and not version.isdecimal():
            raise InvalidRequestError(f"not a version: {version!r}")
        versions = self._versions(name)
        found = [known for known in versions if not at or known.version == int(version)]
        if not found and len(reference) >= 6:
            found = [
                known for known in self._tables.names if known.model_sha256.startswith(reference.lower())
            ]
        if not found:
            hint = f"It has {len(versions)} version(s)." if at and versions else ""
            known_names = {known.name for known in self._tables.names}
            raise NotFoundError(
                f"no model is named {reference!r}", hint=hint or did_you_mean(name, known_names)
            )
        return found[-1]

    def names(self) -> list[ModelName]:
        """Newest last."""
        return list(self._tables.names)

    def _versions(self, name: str) -> list[ModelName]:
        return [known for known in self._tables.names if known.name == name]
