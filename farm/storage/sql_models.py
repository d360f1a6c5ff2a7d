"""Models and their names in SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import desc, func, select

from farm.domain.digests import Digest
from farm.domain.errors import InvalidRequestError, NotFoundError
from farm.domain.models import Model, ModelFile, Tensor
from farm.domain.suggestions import did_you_mean
from farm.domain.work import ModelName
from farm.storage.columns import DatabaseNow, storable_text
from farm.storage.rows import insert_once
from farm.storage.sql_artifacts import note_artifact
from farm.storage.tables import model_names, models

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

LONGEST_NAME = 200


class SqlModelCatalog:
    """Implements `ModelCatalog`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, model: Model) -> None:
        """Files a model; the same content twice is the same model."""
        # In the order of their digests: two models that share files wait for each other, but never in a circle.
        for file in sorted(model.files, key=lambda file: file.digest):
            note_artifact(self._connection, file.digest, "model")
        insert_once(
            self._connection,
            models,
            sha256=model.digest.sha256,
            size_bytes=model.digest.size_bytes,
            files=[{"name": file.name, "digest": str(file.digest)} for file in model.files],
            inputs=[tensor.as_json() for tensor in model.inputs],
            outputs=[tensor.as_json() for tensor in model.outputs],
            operators=dict(model.operators),
            opset=model.opset,
            ir_version=model.ir_version,
            producer=model.producer,
            parameters=model.parameters,
            format=model.format,
            structure_sha256=model.structure_sha256,
            created_at=DatabaseNow(),
        )

    def get(self, sha256: str) -> Model:
        """A model by its content.

        Raises:
            NotFoundError: there is none.
        """
        row = self._connection.execute(select(models).where(models.c.sha256 == sha256)).one_or_none()
        if row is None:
            raise NotFoundError(f"no model {sha256[:12]} is filed")
        return _model_from_row(row)

    def alike(self, model: Model) -> list[str]:
        """The other models of the same structure, by digest, newest first; none where nobody knows the structure."""
        query = select(models.c.sha256).where(
            models.c.structure_sha256 == model.structure_sha256,
            models.c.structure_sha256 != "",
            models.c.sha256 != model.digest.sha256,
        )
        newest = query.order_by(desc(models.c.created_at), models.c.sha256)
        return list(self._connection.execute(newest).scalars())

    def name(self, name: str, sha256: str) -> ModelName:
        """What the name means from now on: its latest version, or a new one for other content.

        Raises:
            InvalidRequestError: the name is too long.
        """
        if len(name) > LONGEST_NAME:
            raise InvalidRequestError(
                f"the model's name has {len(name)} characters, {LONGEST_NAME} are the most: {name[:40]}…",
                hint="Give a shorter one with --name.",
            )
        while True:
            latest = self._latest(name)
            if latest is not None and latest.model_sha256 == sha256:
                return latest
            # Somebody else may take the version at this moment; then theirs is the latest, and this the next.
            insert_once(
                self._connection,
                model_names,
                name=name,
                version=latest.version + 1 if latest else 1,
                model_sha256=sha256,
                created_at=DatabaseNow(),
            )

    def named(self, reference: str) -> ModelName:
        """`resnet50`, `resnet50@2`, or a digest's first digits.

        Raises:
            NotFoundError: nothing has that name.
            InvalidRequestError: the version is not a number.
        """
        reference = storable_text(reference)
        name, at, version = reference.partition("@")
        if at and not version.isdecimal():
            raise InvalidRequestError(f"not a version: {version!r}", hint=f"Write {name}@1, {name}@2, …")
        query = select(model_names).where(model_names.c.name == name)
        if at:
            # More digits than a column holds are no version that exists.
            query = query.where(model_names.c.version == (int(version) if len(version) < 10 else 0))
        row = self._connection.execute(query.order_by(desc(model_names.c.version)).limit(1)).one_or_none()
        if row is None and len(reference) >= 6:
            query = select(model_names).where(
                model_names.c.model_sha256.startswith(reference.lower(), autoescape=True)
            )
            row = self._connection.execute(
                query.order_by(desc(model_names.c.created_at)).limit(1)
            ).one_or_none()
        if row is None:
            known = self._connection.execute(select(model_names.c.name).distinct()).scalars()
            hint = (
                f"It has {self._count(name)} version(s): `farm models`." if at and self._count(name) else ""
            )
            raise NotFoundError(f"no model is named {reference!r}", hint=hint or did_you_mean(name, known))
        return _name_from_row(row)

    def names(self) -> list[ModelName]:
        """Every version of every name, newest last."""
        query = select(model_names).order_by(
            model_names.c.created_at, model_names.c.name, model_names.c.version
        )
        return [_name_from_row(row) for row in self._connection.execute(query)]

    def _latest(self, name: str) -> ModelName | None:
        query = (
            select(model_names)
            .where(model_names.c.name == name)
            .order_by(desc(model_names.c.version))
            .limit(1)
        )
        row = self._connection.execute(query).one_or_none()
        return None if row is None else _name_from_row(row)

    def _count(self, name: str) -> int:
        query = select(func.count()).select_from(model_names).where(model_names.c.name == name)
        return int(self._connection.execute(query).scalar_one())


def _name_from_row(row: Row[Any]) -> ModelName:
    return ModelName(row.name, row.version, row.model_sha256, row.created_at)


def _model_from_row(row: Row[Any]) -> Model:
    return Model(
        digest=Digest(row.sha256, row.size_bytes),
        files=tuple(ModelFile(file["name"], Digest.parse(file["digest"])) for file in row.files),
        inputs=tuple(map(Tensor.from_json, row.inputs)),
        outputs=tuple(map(Tensor.from_json, row.outputs)),
        opset=row.opset,
        ir_version=row.ir_version,
        producer=row.producer,
        parameters=row.parameters,
        operators=row.operators,
        format=row.format,
        structure_sha256=row.structure_sha256,
    )
