"""The webhook with a real nats-server behind it and real TLS before it."""

import asyncio
import contextlib
import json
import os
import ssl
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from fastapi import FastAPI

from sluice.contracts import codec
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import AnyObject
from sluice.grouping.events import ObjectKey
from sluice.kube.manifest import Document, parse
from sluice.runtime.bus import Bus
from sluice.services.admission.lookup import Folder, LookupFailed, Nowhere
from sluice.services.admission.serving import BadCertificate, Webhook
from sluice.services.admission.shell import Shell
from sluice.services.admission.web import MAX_BODY_BYTES, application
from sluice.testkit.admission import policies, tiers

HOST = "localhost"


def made(given) -> AnyObject:
    [document] = parse(codec.encode(given), "object.json")
    assert isinstance(document, Document)
    return document.object


def body(given, operation="CREATE"):
    group, _, version = given["apiVersion"].rpartition("/")
    request = {
        "uid": "u",
        "kind": {"group": group, "version": version, "kind": given["kind"]},
        "operation": operation,
        "name": given["metadata"]["name"],
        "object": given if operation != "DELETE" else None,
        "oldObject": given if operation == "DELETE" else None,
    }
    return codec.encode({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})


class Client:
    """What the API server does: HTTP/1.1 over TLS, and a certificate that is checked."""

    def __init__(self, authority: trustme.CA, port: int) -> None:
        self._port = port
        self.context = ssl.create_default_context()
        authority.configure_trust(self.context)

    async def ask(self, method: str, path: str, content: bytes = b"") -> tuple[int, bytes]:
        reader, writer = await asyncio.open_connection(HOST, self._port, ssl=self.context, server_hostname=HOST)
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {len(content)}\r\nconnection: close\r\n\r\n"
        )
        writer.write(head.encode() + content)
        answer = await asyncio.wait_for(reader.read(), 60)
        writer.close()
        start, _, rest = answer.partition(b"\r\n\r\n")
        return int(start.split(b" ")[1]), rest

    async def review(self, given, operation="CREATE", path="/validate"):
        status, answer = await self.ask("POST", path, body(given, operation))
        assert status == 200, answer
        return json.loads(answer)["response"]

    async def admits(self, given, operation="CREATE") -> bool:
        return bool((await self.review(given, operation))["allowed"])

    async def refuses(self, given) -> bool:
        return not await self.admits(given)

    async def has_other(self, certificate: bytes) -> bool:
        return await self.certificate() != certificate

    async def certificate(self) -> bytes:
        _, writer = await asyncio.open_connection(HOST, self._port, ssl=self.context, server_hostname=HOST)
        found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return found


def issue(authority: trustme.CA, folder: Path) -> tuple[Path, Path]:
    issued = authority.issue_cert(HOST)
    certificate, key = folder / "tls.crt", folder / "tls.key"
    issued.private_key_pem.write_to_path(key)
    issued.cert_chain_pems[0].write_to_path(certificate)
    return certificate, key


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running(bus: Bus, folder: Path, lookup=None):
    authority = trustme.CA()
    shell = Shell(bus, lookup or Nowhere())
    webhook = Webhook(application(shell), "127.0.0.1", 0, *issue(authority, folder))
    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(each) for each in (shell.run(), webhook.run(), webhook.watch(0.02))]
        await asyncio.wait_for(webhook.listening.wait(), 60)
        yield shell, Client(authority, webhook.port), authority
        for task in started:
            task.cancel()


async def test_nothing_is_admitted_before_all_is_known(bus, source, tmp_path):
    await source.put(made(tiers.tier("mine", 10)))
    async with running(bus, tmp_path) as (shell, client, _):

        async def told() -> bool:
            return bool(shell._known.priority_of("mine") == 10)

        await until(told)
        refused = await client.review(policies.cluster())
        assert not refused["allowed"]
        assert (refused["status"]["code"], refused["status"]["reason"]) == (503, "ServiceUnavailable")
        assert "try again" in refused["status"]["message"]
        foreign = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}}
        assert (await client.review(foreign))["allowed"]

        await source.listed()
        await asyncio.wait_for(shell.in_sync.wait(), 60)
        assert await client.review(policies.cluster(tier="mine")) == {"uid": "u", "allowed": True}
        again = await client.review(tiers.tier("other", 10))
        assert "overlaps with the tier mine" in again["status"]["message"]


async def test_it_follows_what_exists(bus, source, tmp_path):
    await source.put(made(tiers.tier("mine", 10)), made(policies.cluster(tier="mine")))
    await source.listed()
    async with running(bus, tmp_path) as (shell, client, _):
        await asyncio.wait_for(shell.in_sync.wait(), 60)
        kept = await client.review(tiers.tier("mine", 10), "DELETE")
        assert "used by 1 policy" in kept["status"]["message"]

        await source.delete(ObjectKey(Kind.CLUSTER_NETWORK_POLICY, "", "a"))
        await until(lambda: client.admits(tiers.tier("mine", 10), "DELETE"))
        await source.delete(ObjectKey(Kind.TIER, "", "mine"))
        await until(lambda: client.refuses(policies.cluster(tier="mine")))


async def test_an_object_that_cannot_be_read_stays_what_it_was(bus, source, tmp_path):
    await source.put(made(tiers.tier("mine", 10)))
    await source.listed()
    async with running(bus, tmp_path) as (shell, client, _):
        await asyncio.wait_for(shell.in_sync.wait(), 60)
        await source.spoil(ObjectKey(Kind.TIER, "", "mine"))
        await source.put(made(tiers.tier("later", 11)))
        await until(lambda: client.admits(policies.cluster(tier="later")))

        assert (await client.review(policies.cluster(tier="mine")))["allowed"]


async def test_a_tier_that_the_bus_has_not_told_of_is_looked_up_once(bus, source, tmp_path):
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    (manifests / "tier.json").write_bytes(codec.encode(tiers.tier("mine", 10)))
    (manifests / "wrong.json").write_bytes(codec.encode(tiers.tier("wrong", 300)))
    await source.listed()
    async with running(bus, tmp_path, Folder(manifests)) as (shell, client, _):
        await asyncio.wait_for(shell.in_sync.wait(), 60)
        assert (await client.review(policies.cluster(tier="mine")))["allowed"]
        assert not (await client.review(policies.cluster(tier="wrong")))["allowed"]
        assert not (await client.review(policies.cluster(tier="other")))["allowed"]


class Silent:
    async def has_tier(self, name: str) -> bool:
        raise LookupFailed("it does not answer")


async def test_a_source_that_does_not_answer_makes_no_tier(bus, source, tmp_path):
    await source.listed()
    async with running(bus, tmp_path, Silent()) as (shell, client, _):
        await asyncio.wait_for(shell.in_sync.wait(), 60)
        assert not (await client.review(policies.cluster(tier="mine")))["allowed"]


async def test_defaults_need_no_context(bus, tmp_path):
    async with running(bus, tmp_path) as (_, client, _):
        assert (await client.review(policies.cluster(), path="/mutate"))["patchType"] == "JSONPatch"
        labelled = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
        assert (await client.review(labelled, path="/mutate/namespace"))["patchType"] == "JSONPatch"


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (("GET", "/healthz"), 200),
        (("POST", "/validate", b"{}"), 400),
        (("POST", "/validate", b"{" + b" " * MAX_BODY_BYTES), 413),
        (("GET", "/validate"), 405),
        (("POST", "/else"), 404),
    ],
    ids=["health", "nothing", "too much", "a question without one", "elsewhere"],
)
async def test_what_is_no_review_is_refused(bus, tmp_path, asked, status):
    async with running(bus, tmp_path) as (_, client, _):
        assert (await client.ask(*asked))[0] == status


async def test_a_renewed_certificate_serves_without_a_restart(bus, tmp_path):
    async with running(bus, tmp_path) as (_, client, authority):
        before = await client.certificate()
        (tmp_path / "tls.crt").write_text("half of it")  # the other half follows
        await asyncio.sleep(0.1)
        assert await client.certificate() == before

        issue(authority, tmp_path)
        await until(lambda: client.has_other(before))


def test_a_certificate_without_its_key_is_refused(tmp_path):
    certificate, _ = issue(trustme.CA(), tmp_path)
    (tmp_path / "other").mkdir()
    _, key = issue(trustme.CA(), tmp_path / "other")

    with pytest.raises(BadCertificate, match=r"tls\.crt"):
        Webhook(FastAPI(), "127.0.0.1", 0, certificate, key)


async def test_the_service_as_a_process(server, source, tmp_path):
    authority = trustme.CA()
    certificate, key = issue(authority, tmp_path)
    await source.put(made(tiers.tier("mine", 10)))
    await source.listed()
    given = {"NATS_URL": server.url, "CERTIFICATE": str(certificate), "KEY": str(key), "HEALTH_PORT": "0"}
    environ = os.environ | {f"SLUICE_ADMISSION_{name}": value for name, value in given.items()}
    service = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sluice.services.admission", env=environ, stderr=asyncio.subprocess.PIPE
    )
    assert service.stderr is not None
    told: dict[str, dict[str, Any]] = {}  # Any: JSON
    async with asyncio.timeout(60):
        while not told.keys() >= {"webhook_served", "objects_in_sync", "health_served"}:
            line = json.loads(await service.stderr.readline())
            told[line["event"]] = line

    client = Client(authority, told["webhook_served"]["port"])
    assert await client.admits(policies.cluster(tier="mine"))
    assert await client.refuses(policies.cluster(tier="other"))
    host, port = told["health_served"]["address"]
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
    metrics = (await asyncio.wait_for(reader.read(), 60)).decode()
    writer.close()
    assert 'sluice_admission_reviews_total{answer="admitted"} 1' in metrics
    assert 'sluice_admission_reviews_total{answer="refused"} 1' in metrics

    service.terminate()
    assert await asyncio.wait_for(service.wait(), 60) == 0
