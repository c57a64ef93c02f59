"""A tier that the bus has not told of: who is asked, and what comes of the answers."""

import asyncio
import contextlib
import json
import ssl
from pathlib import Path

import pytest
import trustme
from msgspec.structs import replace

from sluice.services.admission.app import lookup_of
from sluice.services.admission.lookup import ApiServer, Folder, LookupFailed, Nowhere
from sluice.services.admission.settings import AdmissionSettings

PATH = "/apis/crd.antrea.io/v1beta1/tiers/mine"
SETTINGS = AdmissionSettings(certificate="tls.crt", key="tls.key")


class Kubernetes:
    """An API server that gives one answer, and remembers what it was asked."""

    def __init__(self, folder: Path, answer: bytes, status: str) -> None:
        self.authority = trustme.CA()
        self.asked: list[str] = []
        self._answer, self._status = answer, status
        self.authority.cert_pem.write_to_path(folder / "ca.crt")
        (folder / "token").write_text("secret\n")

    @contextlib.asynccontextmanager
    async def listening(self):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.authority.issue_cert("localhost").configure_cert(context)
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        async with server:
            yield server.sockets[0].getsockname()[1]

    async def _serve(self, reader, writer):
        self.asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        head = f"HTTP/1.1 {self._status}\r\ncontent-length: {len(self._answer)}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode() + self._answer)
        await writer.drain()
        writer.close()


TIER = json.dumps({"kind": "Tier", "metadata": {"name": "mine"}, "spec": {"priority": 10}}).encode()


async def asked_for(tmp_path, answer=TIER, status="200 OK"):
    kubernetes = Kubernetes(tmp_path, answer, status)
    async with kubernetes.listening() as port:
        return kubernetes, await ApiServer("localhost", port, tmp_path).has_tier("mine")


async def test_the_api_server_has_it(tmp_path):
    kubernetes, found = await asked_for(tmp_path)

    assert found
    [asked] = kubernetes.asked
    assert asked.startswith(f"GET {PATH} HTTP/1.1\r\n")
    assert "Authorization: Bearer secret\r\n" in asked


async def test_the_api_server_has_it_not(tmp_path):
    assert not (await asked_for(tmp_path, b"{}", "404 Not Found"))[1]


@pytest.mark.parametrize(
    ("answer", "status"),
    [(b"{}", "403 Forbidden"), (b"{}", "500 Internal Server Error"), (b"half", "200 OK")],
    ids=["it may not be asked", "it fails", "it says something else"],
)
async def test_the_api_server_does_not_say(tmp_path, answer, status):
    with pytest.raises(LookupFailed, match="API server at localhost"):
        await asked_for(tmp_path, answer, status)


async def test_another_server_is_not_believed(tmp_path):
    kubernetes = Kubernetes(tmp_path, TIER, "200 OK")
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.crt")
    async with kubernetes.listening() as port:
        with pytest.raises(LookupFailed, match=r"certificate verify failed|CERTIFICATE_VERIFY_FAILED"):
            await ApiServer("localhost", port, tmp_path).has_tier("mine")


async def test_a_folder_that_is_not_there_does_not_say(tmp_path):
    with pytest.raises(LookupFailed, match="not a folder"):
        await Folder(tmp_path / "none").has_tier("mine")


async def test_a_folder_says_what_its_files_do(tmp_path):
    (tmp_path / "tier.yaml").write_text(
        "apiVersion: crd.antrea.io/v1beta1\nkind: Tier\nmetadata: {name: mine}\nspec: {priority: 10}\n"
    )
    (tmp_path / "notes.txt").write_text("name: other")

    assert await Folder(tmp_path).has_tier("mine")
    assert not await Folder(tmp_path).has_tier("other")


def test_who_is_asked(tmp_path):
    inside = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}

    assert isinstance(lookup_of(SETTINGS, inside), ApiServer)
    assert isinstance(lookup_of(SETTINGS, {}), Nowhere)
    assert isinstance(lookup_of(replace(SETTINGS, folder=str(tmp_path)), inside), Folder)


async def test_nowhere_has_nothing():
    assert not await Nowhere().has_tier("mine")
