"""The webhook's own authority: at every moment the API server believes whoever serves."""

import asyncio
import base64
import json
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from sluice.drivers.kubernetes.access import Access
from sluice.drivers.kubernetes.client import Client, Refused
from sluice.runtime.authority import expires
from sluice.services.admission.certifying import AUTHORITY_DAYS, LEAF_DAYS, Held, certified
from sluice.services.admission.rotating import CONFIGURATIONS, NAME, BadSecret, Rotation
from sluice.services.admission.settings import AdmissionSettings
from sluice.testkit.apiserver.server import ApiServer

NAMES = ("admission.sluice-system.svc",)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def believes(bundle: bytes, serving: bytes, now: datetime) -> bool:
    """Whether a client with this bundle takes this certificate."""
    certificate = x509.load_pem_x509_certificate(serving)
    for authority in x509.load_pem_x509_certificates(bundle):
        if authority.subject == certificate.issuer and authority.not_valid_after_utc > now:
            certificate.verify_directly_issued_by(authority)
            return certificate.not_valid_after_utc > now
    return False


def test_over_five_years_whoever_looks_seldom_is_believed_all_the_while() -> None:
    """Two replicas look each day and each second day; the configurations are a day behind."""
    held: Held | None = None
    told, served, authorities = b"", [b"", b""], set()
    for number in range(5 * 365):
        now = BEGIN + number * DAY
        before = held
        held = certified(held, [told, told], NAMES, now)
        if before is not None:
            assert all(believes(told, each, now) for each in served), now
        for replica in (0, 1):
            if before is None or number % (replica + 1) == 0:
                served[replica] = held.serving.certificate
        told = held.bundle
        authorities |= {each.certificate for each in held.authorities}
        assert len(held.authorities) <= 3
        assert expires(held.serving.certificate) - now > LEAF_DAYS / 4 * DAY

    assert len(authorities) == pytest.approx(5 * 365 / (AUTHORITY_DAYS * 2 / 3), abs=1.5)


def test_a_new_authority_signs_only_when_every_configuration_has_it() -> None:
    first = certified(None, [], NAMES, BEGIN)
    later = BEGIN + 0.7 * AUTHORITY_DAYS * DAY
    second = certified(first, [first.bundle], NAMES, later)
    assert (len(second.authorities), second.signer) == (2, 0)

    renewed = certified(second, [second.bundle, first.bundle], NAMES, later)
    assert renewed.signer == 0

    promoted = certified(second, [second.bundle, second.bundle], NAMES, later)
    assert promoted.signer == 1
    assert not believes(first.bundle, promoted.serving.certificate, later)
    assert believes(promoted.bundle, promoted.serving.certificate, later)
    assert certified(promoted, [promoted.bundle], NAMES, later) == promoted


# ------------------------------------------------------------------------------------------------ with an API server


def settings(folder: Path) -> AdmissionSettings:
    return AdmissionSettings(
        own_authority="admission-authority", certificate=str(folder / "tls.crt"), key=str(folder / "tls.key")
    )


async def configurations(client: Client) -> list[dict[str, Any]]:
    root = "/apis/admissionregistration.k8s.io/v1"
    return [json.loads(await client.ask("GET", f"{root}/{each.plural}/{NAME}")) for each in CONFIGURATIONS]


async def register(client: Client) -> None:
    for each in CONFIGURATIONS:
        webhook = {"name": "x.sluice.dev", "clientConfig": {"service": {"name": "admission"}, "caBundle": ""}}
        made = {"apiVersion": each.api_version, "kind": each.kind, "metadata": {"name": NAME}, "webhooks": [webhook]}
        await client.ask("POST", f"/apis/{each.api_version}/{each.plural}", body=json.dumps(made).encode())


async def test_replicas_agree_on_one_authority_and_tell_it(tmp_path: Path) -> None:
    async with ApiServer.run() as server, Client(Access(master=server.url), "test") as client:
        await register(client)
        rotations = [Rotation(client, settings(tmp_path / name)) for name in ("a", "b", "c")]

        async def until_done(each: Rotation) -> None:
            while True:
                try:
                    return await each.look(BEGIN)
                except Refused as error:
                    if error.code != 409:
                        raise

        await asyncio.gather(*(until_done(each) for each in rotations))

        shown = {(tmp_path / name / "tls.crt").read_bytes() for name in ("a", "b", "c")}
        [serving] = shown
        for told in await configurations(client):
            bundle = base64.b64decode(told["webhooks"][0]["clientConfig"]["caBundle"])
            assert believes(bundle, serving, BEGIN)
            assert told["webhooks"][0]["clientConfig"]["service"] == {"name": "admission"}
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
            tmp_path / "a/tls.crt", tmp_path / "a/tls.key"
        )
        assert (tmp_path / "a" / "tls.key").stat().st_mode & 0o077 == 0

        later = BEGIN + 0.7 * AUTHORITY_DAYS * DAY
        for _ in range(2):
            await rotations[0].look(later)
            for told in await configurations(client):
                bundle = base64.b64decode(told["webhooks"][0]["clientConfig"]["caBundle"])
                assert len(x509.load_pem_x509_certificates(bundle)) == 2
                assert believes(bundle, (tmp_path / "a" / "tls.crt").read_bytes(), later)
        issuer = x509.load_pem_x509_certificate((tmp_path / "a" / "tls.crt").read_bytes()).issuer
        assert issuer != x509.load_pem_x509_certificate(serving).issuer


async def test_a_secret_of_somebody_else_is_not_overwritten(tmp_path: Path) -> None:
    async with ApiServer.run() as server, Client(Access(master=server.url), "test") as client:
        metadata = {"name": "admission-authority", "namespace": "sluice-system"}
        made = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"x": "eA=="}}
        await client.ask("POST", "/api/v1/namespaces/sluice-system/secrets", body=json.dumps(made).encode())

        with pytest.raises(BadSecret, match=r"sluice-system/admission-authority.*delete it"):
            await Rotation(client, settings(tmp_path)).look(BEGIN)


async def test_a_secret_that_was_made_empty_is_filled(tmp_path: Path) -> None:
    """As deploy/k8s makes it, so that admission needs no right to create any."""
    async with ApiServer.run() as server, Client(Access(master=server.url), "test") as client:
        await register(client)
        metadata = {"name": "admission-authority", "namespace": "sluice-system", "labels": {"a": "b"}}
        made = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "sluice.dev/authority"}
        place = "/api/v1/namespaces/sluice-system/secrets"
        await client.ask("POST", place, body=json.dumps(made).encode())

        await Rotation(client, settings(tmp_path)).look(BEGIN)

        stored = json.loads(await client.ask("GET", f"{place}/admission-authority"))
        assert stored["metadata"]["labels"] == {"a": "b"}
        assert stored["data"]["held"]
        serving = (tmp_path / "tls.crt").read_bytes()
        for told in await configurations(client):
            assert believes(base64.b64decode(told["webhooks"][0]["clientConfig"]["caBundle"]), serving, BEGIN)
