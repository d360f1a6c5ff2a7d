"""What every catalogue of models must do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from farm.domain.errors import InvalidRequestError, NotFoundError
from farm.domain.models import ModelFile
from tests.behaviours.given import given_a_model
from tests.factories import a_digest, a_model, a_tensor

if TYPE_CHECKING:
    from farm.services.ports import Database


class ModelCatalogBehaviour:
    """Tests of `transaction.models`.

    Fixture to give: `database`, an empty one with its schema in place.
    """

    def test_a_model_comes_back_as_it_was_added(self, database: Database) -> None:
        model = a_model(inputs=(a_tensor(), a_tensor("mask", ()), a_tensor("ids", (1, -1), "int64")))
        with database.transaction() as transaction:
            transaction.models.add(model)
        with database.reading() as transaction:
            assert transaction.models.get(model.digest.sha256) == model

    def test_the_same_content_twice_is_one_model(self, database: Database) -> None:
        model = a_model()
        renamed = a_model(files=(ModelFile("final2.onnx", a_digest("other wrapping")),), producer="somebody")
        with database.transaction() as transaction:
            transaction.models.add(model)
            transaction.models.add(renamed)
        with database.reading() as transaction:
            assert transaction.models.get(model.digest.sha256) == model

    def test_unknown_content_is_not_found(self, database: Database) -> None:
        with database.reading() as transaction, pytest.raises(NotFoundError):
            transaction.models.get(a_digest("never added").sha256)

    def test_the_files_of_a_model_are_noted_as_artifacts(self, database: Database) -> None:
        model = a_model()
        with database.transaction() as transaction:
            transaction.models.add(model)
        with database.reading() as transaction:
            assert transaction.engines.artifact(model.files[0].digest.sha256) == model.files[0].digest

    def test_a_name_begins_with_version_one(self, database: Database) -> None:
        name = given_a_model(database, a_model(), "resnet")
        assert (name.name, name.version, name.model_sha256) == ("resnet", 1, a_model().digest.sha256)

    def test_naming_the_same_content_again_changes_nothing(self, database: Database) -> None:
        first = given_a_model(database, a_model(), "resnet")
        assert given_a_model(database, a_model(), "resnet") == first

    def test_other_content_under_a_name_is_its_next_version(self, database: Database) -> None:
        given_a_model(database, a_model("old"), "resnet")
        assert given_a_model(database, a_model("new"), "resnet").version == 2

    def test_going_back_to_former_content_is_a_version_of_its_own(self, database: Database) -> None:
        for content in ("old", "new", "old"):
            last = given_a_model(database, a_model(content), "resnet")
        assert last.version == 3

    def test_one_model_may_have_two_names(self, database: Database) -> None:
        given_a_model(database, a_model(), "resnet")
        assert given_a_model(database, a_model(), "backbone").version == 1

    def test_a_name_means_its_latest_version(self, database: Database) -> None:
        given_a_model(database, a_model("old"), "resnet")
        newest = given_a_model(database, a_model("new"), "resnet")
        with database.reading() as transaction:
            assert transaction.models.named("resnet") == newest

    def test_a_name_with_a_number_means_that_version(self, database: Database) -> None:
        oldest = given_a_model(database, a_model("old"), "resnet")
        given_a_model(database, a_model("new"), "resnet")
        with database.reading() as transaction:
            assert transaction.models.named("resnet@1") == oldest

    @pytest.mark.parametrize("digits", [6, 12, 64])
    def test_a_digests_first_digits_mean_the_model(self, database: Database, digits: int) -> None:
        name = given_a_model(database, a_model(), "resnet")
        with database.reading() as transaction:
            assert transaction.models.named(name.model_sha256[:digits]) == name
            assert transaction.models.named(name.model_sha256[:digits].upper()) == name

    def test_a_digest_means_the_newest_name_of_the_model(self, database: Database) -> None:
        given_a_model(database, a_model(), "resnet")
        newest = given_a_model(database, a_model(), "backbone")
        with database.reading() as transaction:
            assert transaction.models.named(newest.model_sha256) == newest

    def test_fewer_than_six_digits_mean_nothing(self, database: Database) -> None:
        name = given_a_model(database, a_model(), "resnet")
        with database.reading() as transaction, pytest.raises(NotFoundError):
            transaction.models.named(name.model_sha256[:5])

    def test_wildcards_of_sql_are_ordinary_letters(self, database: Database) -> None:
        given_a_model(database, a_model(), "resnet")
        with database.reading() as transaction, pytest.raises(NotFoundError):
            transaction.models.named("%%%%%%")
        with database.reading() as transaction, pytest.raises(NotFoundError):
            transaction.models.named("______")

    def test_an_unknown_name_suggests_the_nearest(self, database: Database) -> None:
        given_a_model(database, a_model(), "resnet50")
        with database.reading() as transaction, pytest.raises(NotFoundError) as caught:
            transaction.models.named("resnet5")
        assert "resnet50" in caught.value.hint

    def test_an_unknown_version_says_how_many_there_are(self, database: Database) -> None:
        given_a_model(database, a_model(), "resnet")
        with database.reading() as transaction, pytest.raises(NotFoundError) as caught:
            transaction.models.named("resnet@7")
        assert "1 version" in caught.value.hint

    @pytest.mark.parametrize("model_format", ["onnx", "network", "pt2"])
    def test_a_model_keeps_its_format(self, database: Database, model_format: str) -> None:
        model = a_model(model_format, format=model_format)
        given_a_model(database, model, "net")
        with database.reading() as transaction:
            assert transaction.models.get(model.digest.sha256) == model

    def test_a_version_that_is_no_number_is_refused(self, database: Database) -> None:
        given_a_model(database, a_model(), "resnet")
        with database.reading() as transaction, pytest.raises(InvalidRequestError):
            transaction.models.named("resnet@latest")

    def test_names_are_listed_with_every_version_newest_last(self, database: Database) -> None:
        given_a_model(database, a_model("a"), "zebra")
        given_a_model(database, a_model("b"), "ant")
        given_a_model(database, a_model("c"), "zebra")
        with database.reading() as transaction:
            listed = [(name.name, name.version) for name in transaction.models.names()]
        assert listed == [("zebra", 1), ("ant", 1), ("zebra", 2)]

    def test_models_of_one_structure_are_found_newest_first(self, database: Database) -> None:
        first, second = (a_model(name, structure_sha256="5" * 64) for name in ("first", "second"))
        for name, model in [("a", first), ("b", second), ("c", a_model("other", structure_sha256="6" * 64))]:
            given_a_model(database, model, name)
        third = a_model("third", structure_sha256="5" * 64)
        with database.reading() as transaction:
            assert transaction.models.alike(third) == [second.digest.sha256, first.digest.sha256]
            assert transaction.models.alike(first) == [second.digest.sha256]
            assert transaction.models.get(first.digest.sha256) == first

    def test_a_model_whose_structure_nobody_knows_is_like_no_other(self, database: Database) -> None:
        given_a_model(database, a_model("first"), "a")
        with database.reading() as transaction:
            assert transaction.models.alike(a_model("second")) == []

    def test_what_a_failed_transaction_named_is_not_kept(self, database: Database) -> None:
        model = a_model()
        with pytest.raises(RuntimeError), database.transaction() as transaction:
            transaction.models.add(model)
            transaction.models.name("resnet", model.digest.sha256)
            raise RuntimeError("the power went away")
        with database.reading() as transaction:
            assert transaction.models.names() == []
            with pytest.raises(NotFoundError):
                transaction.models.get(model.digest.sha256)
