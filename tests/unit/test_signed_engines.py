"""Signed engines: what a worker signs is what may be handed out, and nothing else is."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.domain.errors import ConflictError, InvalidRequestError, UntrustedEngineError
from farm.domain.manifests import EngineManifest, SignedManifest
from farm.services.trust import check_bytes, check_engine, check_fetched
from farm.storage.signing import PublicKey, Signer, TrustedKeys, make_signer, read_public_keys, read_signer
from tests.behaviours.given import given_a_farm, given_a_finished_job
from tests.factories import a_build_spec, a_device_type, a_digest, a_toolchain_id
from tests.fakes import InMemoryDatabase

if TYPE_CHECKING:
    from pathlib import Path

    from farm.domain.filing import Engine

SPEC = a_build_spec()
MANIFEST = EngineManifest(
    key=SPEC.digest.sha256,
    model_sha256=SPEC.model_sha256,
    engine=a_digest("plan"),
    toolchain=SPEC.target.toolchain,
    device_type=SPEC.target.device_type,
    precision=SPEC.precision,
    job_id="j-1",
    attempt=1,
    worker_id="w-1",
    host="gpu07",
    made_at="2026-11-20T22:56:46+00:00",
)


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    """The farm's worker."""
    return make_signer(tmp_path_factory.mktemp("keys") / "signing.key")


@pytest.fixture(scope="module")
def trusted(signer: Signer) -> TrustedKeys:
    """A farm that trusts it alone."""
    return TrustedKeys([signer.public_key])


@pytest.fixture(scope="module")
def engine(signer: Signer) -> Engine:
    """As it was filed."""
    database = InMemoryDatabase()
    given_a_farm(database)
    _, engine_id = given_a_finished_job(database, SPEC)
    with database.reading() as transaction:
        return replace(transaction.engines.get(engine_id), signed=signer.sign(MANIFEST))


# What is signed.


def test_a_manifest_survives_its_own_json() -> None:
    document = json.loads(json.dumps(MANIFEST.as_json()))
    assert EngineManifest.from_json(document) == MANIFEST


def test_what_was_signed_holds_also_after_a_database_has_sorted_it(
    signer: Signer, trusted: TrustedKeys
) -> None:
    signed = signer.sign(MANIFEST)
    sorted_otherwise = dict(reversed(list(signed.manifest.items())))
    trusted.check(replace(signed, manifest=sorted_otherwise))


def _leaves(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if isinstance(value, dict):
        return [leaf for name, item in value.items() for leaf in _leaves(item, (*path, name))]
    return [path]


def _changed(document: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    head, *rest = path
    return {**document, head: _changed(document[head], tuple(rest), value) if rest else value}


@given(
    path=st.sampled_from(_leaves(MANIFEST.as_json())),
    value=st.one_of(st.text(max_size=80), st.integers(-3, 3), st.none(), st.booleans(), st.just([])),
)
def test_any_change_of_one_field_breaks_the_signature(
    signer: Signer, trusted: TrustedKeys, path: tuple[str, ...], value: Any
) -> None:
    signed = signer.sign(MANIFEST)
    changed = _changed(dict(signed.manifest), path, value)
    # True and 1 are equal in Python and different in JSON.
    if json.dumps(changed) == json.dumps(signed.manifest):
        return
    with pytest.raises(UntrustedEngineError):
        trusted.check(replace(signed, manifest=changed))


@given(name=st.sampled_from(sorted(MANIFEST.as_json())))
def test_a_field_that_is_taken_away_or_added_breaks_the_signature(
    signer: Signer, trusted: TrustedKeys, name: str
) -> None:
    signed = signer.sign(MANIFEST)
    fewer = {key: value for key, value in signed.manifest.items() if key != name}
    for document in (fewer, {**signed.manifest, f"{name}2": 1}, {}):
        with pytest.raises(UntrustedEngineError, match="does not hold"):
            trusted.check(replace(signed, manifest=document))


@given(position=st.integers(0, 63), bit=st.integers(0, 7))
def test_any_bit_of_the_signature_counts(
    signer: Signer, trusted: TrustedKeys, position: int, bit: int
) -> None:
    import base64

    signed = signer.sign(MANIFEST)
    raw = bytearray(base64.b64decode(signed.signature))
    raw[position] ^= 1 << bit
    with pytest.raises(UntrustedEngineError, match="does not hold"):
        trusted.check(replace(signed, signature=base64.b64encode(raw).decode()))


@pytest.mark.parametrize("signature", ["", "no base64!", "AAAA", "é"])
def test_what_is_no_signature_is_none(signer: Signer, trusted: TrustedKeys, signature: str) -> None:
    with pytest.raises(UntrustedEngineError, match="does not hold"):
        trusted.check(replace(signer.sign(MANIFEST), signature=signature))


# Whose signatures count.


def test_an_unknown_key_does_not_count(tmp_path: Path, trusted: TrustedKeys) -> None:
    stranger = make_signer(tmp_path / "other.key")
    with pytest.raises(UntrustedEngineError, match="nobody here trusts"):
        trusted.check(stranger.sign(MANIFEST))


def test_a_signature_does_not_count_under_another_keys_name(
    tmp_path: Path, signer: Signer, trusted: TrustedKeys
) -> None:
    forged = make_signer(tmp_path / "other.key").sign(MANIFEST)
    with pytest.raises(UntrustedEngineError, match="does not hold"):
        trusted.check(replace(forged, signing_key=signer.public_key.id))


def test_a_revoked_key_does_not_count_whoever_lists_it(signer: Signer) -> None:
    keys = TrustedKeys([signer.public_key], revoked=[signer.public_key.id])
    assert signer.public_key.id not in keys
    with pytest.raises(UntrustedEngineError, match="is revoked"):
        keys.check(signer.sign(MANIFEST))


# What it was signed for.


def test_the_engine_that_was_built_is_handed_out(engine: Engine, trusted: TrustedKeys) -> None:
    assert check_engine(engine, SPEC, trusted) == MANIFEST


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"spec": replace(SPEC, salt="other")}, "key"),
        ({"spec": replace(SPEC, model_sha256=a_digest("other").sha256)}, "key, model"),
        ({"spec": replace(SPEC, precision="fp32")}, "key, precision"),
        (
            {"spec": replace(SPEC, target=replace(SPEC.target, toolchain=a_toolchain_id(version="8.6.1")))},
            "key, toolchain",
        ),
        (
            {"spec": replace(SPEC, target=replace(SPEC.target, device_type=a_device_type(memory_gib=1)))},
            "key, device type",
        ),
        ({"digest": a_digest("other plan")}, "bytes"),
    ],
    ids=["salt", "model", "precision", "toolchain", "device type", "bytes"],
)
def test_what_somebody_changed_in_sql_is_named_and_not_handed_out(
    engine: Engine, trusted: TrustedKeys, change: dict[str, Any], named: str
) -> None:
    edited = replace(engine, **change)
    with pytest.raises(UntrustedEngineError, match=f"differs in {named}$"):
        check_engine(edited, edited.spec, trusted)


def test_manifests_of_two_engines_can_not_be_swapped(
    engine: Engine, signer: Signer, trusted: TrustedKeys
) -> None:
    other = replace(SPEC, precision="fp32")
    others = signer.sign(
        replace(MANIFEST, key=other.digest.sha256, precision="fp32", engine=a_digest("other plan"))
    )
    trusted.check(others)
    with pytest.raises(UntrustedEngineError, match="differs in key, bytes, precision"):
        check_engine(replace(engine, signed=others), SPEC, trusted)


def test_an_engine_of_another_model_is_not_handed_out_under_a_name(
    engine: Engine, trusted: TrustedKeys
) -> None:
    from farm.domain.work import ModelName

    database = InMemoryDatabase()
    name = ModelName("resnet", 1, a_digest("other").sha256, database.clock)
    with pytest.raises(UntrustedEngineError, match="another model's"):
        check_fetched(engine, name, trusted)


def test_an_engine_without_a_signature_is_refused_with_what_to_do(
    engine: Engine, trusted: TrustedKeys
) -> None:
    unsigned = replace(engine, signed=None)
    assert not unsigned.is_signed
    with pytest.raises(UntrustedEngineError, match="a release before") as caught:
        check_engine(unsigned, SPEC, trusted)
    assert "--allow-unsigned" in caught.value.hint
    assert caught.value.exit_code == 7
    assert caught.value.failure_class == "corrupt"


def test_bytes_beside_a_manifest_are_those_that_were_signed(signer: Signer, trusted: TrustedKeys) -> None:
    signed = signer.sign(MANIFEST)
    assert check_bytes(signed, a_digest("plan"), trusted) == MANIFEST
    with pytest.raises(UntrustedEngineError, match="other bytes"):
        check_bytes(signed, a_digest("plan, and a little more"), trusted)


def test_a_manifest_of_a_later_form_is_not_guessed_at(signer: Signer) -> None:
    for document in ({**MANIFEST.as_json(), "version": 2}, {**MANIFEST.as_json(), "more": 1}):
        with pytest.raises(UntrustedEngineError, match="not a manifest of version 1"):
            EngineManifest.from_json(document)


@given(
    document=st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_a_file_that_is_no_manifest_is_refused_whatever_it_holds(document: Any) -> None:
    with pytest.raises(UntrustedEngineError):
        SignedManifest.from_json(document)


@given(
    field=st.sampled_from(sorted(set(MANIFEST.as_json()) - {"version"})),
    value=st.none() | st.floats() | st.lists(st.integers()) | st.dictionaries(st.text(), st.text()),
)
def test_a_manifest_whose_field_is_of_another_kind_is_refused_or_is_another_manifest(
    field: str, value: Any
) -> None:
    try:
        found = EngineManifest.from_json({**MANIFEST.as_json(), field: value})
    except UntrustedEngineError:
        return
    assert found != MANIFEST


# Keys in files.


def test_a_private_key_is_its_owners_alone_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "signing.key"
    made = make_signer(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_signer(path).public_key == made.public_key
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(ConflictError, match="there already"):
        make_signer(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_private_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "signing.key"
    make_signer(path)
    path.chmod(mode)
    with pytest.raises(InvalidRequestError, match=f"may be read by others \\(mode {mode:04o}\\)"):
        read_signer(path)


def test_what_is_no_private_key_is_refused_without_being_shown(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    for text in ("hunter2", "", "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n"):
        path.write_text(text)
        path.chmod(0o600)
        with pytest.raises(InvalidRequestError, match="does not hold an Ed25519 private key") as caught:
            read_signer(path)
        assert "hunter2" not in str(caught.value)


def test_a_private_key_that_is_not_there_is_a_clear_refusal(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="can not be read: No such file"):
        read_signer(tmp_path / "nowhere")


def test_public_keys_are_read_one_a_line_with_comments(tmp_path: Path, signer: Signer) -> None:
    path = tmp_path / "farm.pub"
    path.write_text(f"# the farm's\n\n{signer.public_key} gpu07\n")
    assert read_public_keys(path) == [signer.public_key]
    path.write_text("ssh-ed25519 AAAA me\n")
    with pytest.raises(InvalidRequestError, match="not a public key"):
        read_public_keys(path)


def test_a_public_key_is_its_text_and_its_id_follows_from_it(signer: Signer) -> None:
    assert PublicKey.parse(str(signer.public_key)) == signer.public_key
    assert len(signer.public_key.id) == 64
