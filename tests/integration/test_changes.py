"""What people change through the API is done by ingest at the source; ACTIONS tells who did it, when and from where."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from tests.integration.test_bus_query_api import until
from tests.integration.test_query_api import Client, serving

from sluice.cli.main import main
from sluice.contracts.antrea import STATIC_TIERS
from sluice.contracts.kinds import RESOURCES, Kind
from sluice.drivers.kubernetes.access import Access
from sluice.drivers.kubernetes.client import Client as Kubernetes
from sluice.runtime import past
from sluice.runtime.bus import Bus
from sluice.runtime.natsserver import NatsServer
from sluice.services.ingest import app as ingest
from sluice.services.ingest.settings import IngestSettings
from sluice.testkit.apiserver.server import ApiServer

NETPOL = "/v1/objects/k8snetworkpolicies/x/closed"
PODS = """\
# Who is there.
apiVersion: v1
kind: Namespace
metadata: {name: x}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: x, labels: {app: web}}
spec: {nodeName: a, containers: [{name: c}]}
status: {podIPs: [{ip: 10.0.0.1}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: other, namespace: x}
spec: {podSelector: {}}
"""


def netpol(name: str = "closed", **spec: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": "x"}
    whole = {"podSelector": {}, **spec}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": whole}


def policy(tier: str) -> dict[str, Any]:
    spec = {"tier": tier, "priority": 5, "appliedTo": [{"podSelector": {}}], "ingress": [{"action": "Drop"}]}
    return {
        "apiVersion": "crd.antrea.io/v1beta1",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": "deny"},
        "spec": spec,
    }


async def send(
    api: Client, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> tuple[int, Any, str]:
    """The status, what was said, and the ETag."""
    async with api.session.request(method, api.url + path, json=body, headers=headers) as answer:
        said = await answer.read()
        return answer.status, json.loads(said) if said else None, answer.headers.get("ETag", "")


async def actions(api: Client, headers: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """The oldest first."""
    return [one["action"] for one in reversed((await api.get("/v1/actions", headers=headers))["items"])]


@contextlib.asynccontextmanager
async def of_folder(server: NatsServer, folder: Path, *, writable: bool = True) -> AsyncIterator[None]:
    async with await Bus.connect(server.url, name="ingest") as bus:
        settings = IngestSettings(folder=str(folder), poll_interval_ms=10, grace_ms=50)
        async with ingest.opened(bus, settings) as shell:
            running = [
                asyncio.create_task(work) for work in (shell.run(), *([shell.changing.run(bus)] if writable else []))
            ]
            try:
                async with asyncio.timeout(30):
                    await shell.in_sync.wait()
                yield
                assert not any(one.done() for one in running)
            finally:
                for one in running:
                    one.cancel()
                await asyncio.gather(*running, return_exceptions=True)


async def test_a_folder_is_changed(server: NatsServer, bus: Bus, tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "a.yaml").write_text(PODS)
    tokens = [
        f"{name} {scopes} {sha256(name.encode()).hexdigest()}\n"
        for name, scopes in (("ann", "read,write"), ("bob", "read"))
    ]
    (tmp_path / "tokens").write_text("".join(tokens))
    ann, bob = ({"Authorization": f"Bearer {name}"} for name in ("ann", "bob"))
    async with of_folder(server, folder), serving(bus, tmp_path, tokens=str(tmp_path / "tokens")) as api:

        async def put(path: str, body: Any, **headers: str) -> tuple[int, Any, str]:
            return await send(api, "PUT", path, body, {**ann, **headers})

        assert (await send(api, "PUT", NETPOL, netpol(), bob))[0] == 403
        assert (await send(api, "DELETE", NETPOL, headers=bob))[0] == 403
        assert (await send(api, "PUT", NETPOL, netpol()))[0] == 401
        assert await actions(api, bob) == [], "who may not is not asked what he wants"

        status, made, tag = await put(f"{NETPOL}?reason=ticket+7", netpol(), **{"If-None-Match": "*"})
        assert (status, made["object"]["spec"]["podSelector"]) == (200, {})
        assert (folder / "networkpolicy-x-closed.yaml").exists()
        assert (await put(NETPOL, netpol(), **{"If-None-Match": "*"}))[0] == 412
        status, _, same = await put(NETPOL, netpol())
        assert (status, same) == (200, tag), "nothing to do"
        status, _, newer = await put(NETPOL, netpol(policyTypes=["Egress"]), **{"If-Match": tag})
        assert (status, newer > tag) == (200, True)
        assert (await put(NETPOL, netpol(), **{"If-Match": tag}))[0] == 412
        other = "/v1/objects/k8snetworkpolicies/x/other"
        assert (await put(other, netpol("other", policyTypes=["Ingress"])))[0] == 200
        assert (folder / "a.yaml").read_text().startswith("# Who is there.\n"), "the rest of the file is as it was"

        refused = await put("/v1/objects/acnps/_/deny", policy("nothing"))
        assert (refused[0], "there is no tier nothing" in refused[1]["detail"]) == (422, True)
        wrong = await put(NETPOL, netpol(ingress=[{"ports": [{"port": 0}]}]))
        assert (wrong[0], "$.spec.ingress[0].ports[0].port" in wrong[1]["detail"]) == (422, True)
        reserved = f"/v1/objects/tiers/_/{min(STATIC_TIERS)}"
        kept = await send(api, "DELETE", reserved, headers=ann)
        assert (kept[0], "reserved" in kept[1]["detail"]) == (422, True)
        for path, status in (
            ("/v1/objects/pods/x/web", 422),
            ("/v1/objects/acnps/x/deny", 422),
            ("/v1/objects/k8snetworkpolicies/_/closed", 422),
            ("/v1/objects/k8snetworkpolicies/x/nobody", 404),
        ):
            assert (await send(api, "DELETE", path, headers=ann))[0] == status, path
        assert (await put(other, netpol()))[0] == 422, "the path names another"

        assert (await send(api, "DELETE", NETPOL, headers={**ann, "If-Match": newer}))[0] == 204
        await api.get(NETPOL, 404, bob)
        assert sorted(path.name for path in folder.iterdir()) == ["a.yaml"]

        told = await actions(api, bob)
        assert {(one["who"], one["by"], one["address"]) for one in told} == {("ann", "token", "127.0.0.1")}
        first, done = told[:2]
        assert (first["state"], done["state"], first["id"]) == ("asked", "done", done["id"])
        assert (done["reason"], done.get("before"), f'"{".".join(map(str, done["after"]))}"') == ("ticket 7", None, tag)
        assert [one["state"] for one in told].count("asked") * 2 == len(told)
        last = told[-1]
        assert (last["verb"], last["state"], last.get("after")) == ("delete", "done", None)
        assert f'"{".".join(map(str, last["before"]))}"' == newer
        assert {one["says"] for one in told if one["state"] == "refused" and one["kind"] == "tiers"}


async def test_a_rollback_goes_through_the_api(server: NatsServer, bus: Bus, tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "a.yaml").write_text(PODS)
    async with of_folder(server, folder), serving(bus, tmp_path) as api:
        then = await past.reach(bus)
        tier = {
            "apiVersion": "crd.antrea.io/v1beta1",
            "kind": "Tier",
            "metadata": {"name": "mine"},
            "spec": {"priority": 7},
        }
        assert (await send(api, "PUT", "/v1/objects/tiers/_/mine", tier))[0] == 200
        assert (await send(api, "PUT", "/v1/objects/acnps/_/deny", policy("mine")))[0] == 200
        with_both = await past.reach(bus)
        assert (await send(api, "DELETE", "/v1/objects/k8snetworkpolicies/x/other"))[0] == 204

        async def rollback(to: int) -> tuple[int, list[str]]:
            words = ["rollback", "--to", str(to), "--apply", "--yes", "--nats-url", server.url, "--api", api.url]
            said = await asyncio.to_thread(CliRunner().invoke, main, words, catch_exceptions=False)
            return said.exit_code, [line for line in said.output.splitlines() if line.startswith(("wrote", "removed"))]

        assert await rollback(then.last) == (
            0,
            ["wrote NetworkPolicy x/other", "removed ClusterNetworkPolicy deny", "removed Tier mine"],
        )
        assert "deny" not in "".join(file.read_text() for file in folder.iterdir())
        assert await rollback(with_both.last) == (0, ["wrote Tier mine", "wrote ClusterNetworkPolicy deny"])
        assert await rollback(with_both.last) == (0, [])
        assert (await actions(api))[-1]["reason"] == f"rollback to {with_both.last}"


async def test_without_a_writer_or_a_record_nothing_is_done(server: NatsServer, bus: Bus, tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "a.yaml").write_text(PODS)
    async with of_folder(server, folder, writable=False), serving(bus, tmp_path) as api:
        status, said, _ = await send(api, "PUT", NETPOL, netpol())
        assert (status, "SLUICE_INGEST_WRITABLE" in said["detail"]) == (503, True)
        assert [one["state"] for one in await actions(api)] == ["asked", "refused"]
        assert (await actions(api))[0]["by"] == "loopback"
    assert sorted(path.name for path in folder.iterdir()) == ["a.yaml"]


SETTINGS = IngestSettings(source="kubernetes", lease_namespace="x", retry_s=0.3, absent_s=0.1, silence_s=5.0)


@contextlib.asynccontextmanager
async def of_kubernetes(server: NatsServer, url: str) -> AsyncIterator[None]:
    async with (
        await Bus.connect(server.url, name="ingest") as bus,
        Kubernetes(Access(master=url), "test") as client,
        asyncio.TaskGroup() as tasks,
    ):
        lease = ingest.lease_of(client, SETTINGS)
        await lease.claim()
        holding = tasks.create_task(lease.hold())
        async with ingest.mirrored(bus, client, lease, SETTINGS) as (shell, source):
            works = (source.run(), shell.run(), shell.changing.run(bus))
            running = [holding, *(tasks.create_task(work) for work in works)]
            async with asyncio.timeout(30):
                await shell.in_sync.wait()
            yield
            for one in running:
                one.cancel()


async def test_a_kubernetes_is_changed(server: NatsServer, bus: Bus, tmp_path: Path) -> None:
    async with ApiServer.run() as kubernetes, of_kubernetes(server, kubernetes.url), serving(bus, tmp_path) as api:
        resource = RESOURCES[Kind.K8S_NETWORK_POLICY]
        shelf = kubernetes.store.shelf(resource.kind, resource.api_version)

        def there() -> Any:
            return json.loads(shelf.objects["x", "closed"].body)["spec"]

        status, _, tag = await send(api, "PUT", NETPOL, netpol())
        assert (status, there()) == (200, {"podSelector": {}})
        status, _, newer = await send(api, "PUT", NETPOL, netpol(policyTypes=["Egress"]), {"If-Match": tag})
        assert (status, there()["policyTypes"]) == (200, ["Egress"])

        kubernetes.faults.fail(1, code=403, path="networkpolicies")
        other = "/v1/objects/k8snetworkpolicies/x/other"
        status, said, _ = await send(api, "PUT", other, netpol("other"))
        assert (status, "does not let ingest write" in said["detail"]) == (503, True)

        kubernetes.cut_watches()  # ingest does not hear of it at once
        by_hand = netpol(policyTypes=["Ingress"])
        kubernetes.store.put(shelf, by_hand)
        status, said, _ = await send(api, "PUT", NETPOL, netpol(), {"If-Match": newer})
        assert status in (409, 412), said
        assert there()["policyTypes"] == ["Ingress"], "what was written by hand meanwhile stays"

        async def removed() -> bool:  # when ingest has heard of what was written by hand
            status, _, _ = await send(api, "DELETE", NETPOL)
            assert status in (204, 409)
            return status == 204

        await until(removed)
        assert not shelf.objects
