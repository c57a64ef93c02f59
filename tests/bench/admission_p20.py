"""P20: one AdmissionReview over TLS, with ten thousand policies and their tiers known. The service is a process.

Reviews go one after the other over one connection, as the API server sends them; every tenth is refused. The time is
the client's, from the first byte written to the last one read; of the processor it is the service's.
"""

import asyncio
import json
import os
import ssl
import sys
import tempfile
import time
from pathlib import Path
from statistics import quantiles

import trustme
from tests.bench.figures import Figure, show

from sluice.contracts import codec, subjects
from sluice.contracts.kinds import RESOURCES, Kind
from sluice.contracts.objects import Listed
from sluice.runtime.bus import Bus, Limits
from sluice.runtime.natsserver import NatsServer
from sluice.runtime.output import Output

POLICIES, REVIEWS = 10_000, 1_000
TARGET_P99_MS = 10.0


def policy(number: int, port: int = 8080) -> dict[str, object]:
    resource = RESOURCES[Kind.CLUSTER_NETWORK_POLICY]
    peers = [{"podSelector": {"matchLabels": {"role": f"r{number % 50}"}}, "namespaceSelector": {}}]
    rules = [
        {
            "action": "Allow",
            "name": f"rule-{index}",
            "from": peers,
            "ports": [{"protocol": "TCP", "port": port, "endPort": 9000 + index}],
        }
        for index in range(5)
    ]
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": f"p{number}", "uid": f"u{number}"},
        "spec": {
            "priority": 5,
            "tier": f"t{number % 10}",
            "appliedTo": [{"podSelector": {"matchLabels": {"app": f"a{number}"}}}],
            "ingress": rules,
        },
    }


def tier(number: int) -> dict[str, object]:
    resource = RESOURCES[Kind.TIER]
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": f"t{number}"},
        "spec": {"priority": 10 + number},
    }


def review(number: int) -> bytes:
    refused = number % 10 == 0
    resource = RESOURCES[Kind.CLUSTER_NETWORK_POLICY]
    group, _, version = resource.api_version.rpartition("/")
    request = {
        "uid": str(number),
        "kind": {"group": group, "version": version, "kind": resource.kind},
        "operation": "CREATE",
        "name": f"new{number}",
        "object": policy(POLICIES + number, 0 if refused else 8080),
    }
    return codec.encode({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})


async def fill(url: str) -> None:
    async with (
        await Bus.connect(url, name="bench", limits=Limits(max_bytes=1 << 30)) as bus,
        await Output.open(bus, "LEDGER", ["objects.>"]) as output,
    ):
        for number in range(10):
            output.put(subjects.object_(Kind.TIER, "", f"t{number}"), codec.encode(tier(number)))
        for number in range(POLICIES):
            subject = subjects.object_(Kind.CLUSTER_NETWORK_POLICY, "", f"p{number}")
            output.put(subject, codec.encode(policy(number)))
            await output.room()
        for kind in Kind:
            output.mark(subjects.listed(kind), Listed(kind=kind, source="bench"))
        await output.settled()


async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    fields = (await reader.readuntil(b"\r\n\r\n")).lower()
    size = int(fields.partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return await reader.readexactly(size)


async def measure(folder: Path) -> tuple[list[float], float]:
    """Milliseconds of each review, and processor seconds of the service for all of them."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    certificate, key = folder / "tls.crt", folder / "tls.key"
    issued.private_key_pem.write_to_path(key)
    issued.cert_chain_pems[0].write_to_path(certificate)
    server = await NatsServer.start(folder / "nats")
    await fill(server.url)
    given = {
        "NATS_URL": server.url,
        "CERTIFICATE": str(certificate),
        "KEY": str(key),
        "LOG_LEVEL": "info",
        "HEALTH_PORT": "-1",
    }
    environ = os.environ | {f"SLUICE_ADMISSION_{name}": value for name, value in given.items()}
    service = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sluice.services.admission", env=environ, stderr=asyncio.subprocess.PIPE
    )
    assert service.stderr is not None
    try:
        port = 0
        said: set[str] = set()
        while not said >= {"webhook_served", "objects_in_sync"}:
            line = json.loads(await asyncio.wait_for(service.stderr.readline(), 60))
            said.add(line["event"])
            port = line.get("port", port)
        quiet = asyncio.create_task(service.stderr.read())
        context = ssl.create_default_context()
        authority.configure_trust(context)
        reader, writer = await asyncio.open_connection("localhost", port, ssl=context, server_hostname="localhost")
        for number in range(20):
            await answered(reader, writer, "/validate", review(number))
        bodies = [review(number) for number in range(REVIEWS)]
        before_s = cpu_s(service.pid)
        took_ms = []
        for number, body in enumerate(bodies):
            began_s = time.perf_counter()
            answer = await answered(reader, writer, "/validate", body)
            took_ms.append((time.perf_counter() - began_s) * 1000)
            assert json.loads(answer)["response"]["allowed"] == bool(number % 10), answer
        used_s = cpu_s(service.pid) - before_s
        writer.close()
    finally:
        service.terminate()
        await service.wait()
        await server.stop()
    await quiet
    return took_ms, used_s


def cpu_s(pid: int) -> float:
    """Seconds of processor that the process has used. Source: proc(5), stat, utime and stime."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        took_ms, used_s = asyncio.run(measure(Path(folder)))
    ranks = quantiles(took_ms, n=100)
    cpu_ms = used_s * 1000 / REVIEWS
    detail = f"p50 {ranks[49]:.2f} ms, greatest {max(took_ms):.2f} ms, of {REVIEWS:,}"
    what = f"one AdmissionReview over TLS, {POLICIES:,} policies known, p99"
    show(Figure("P20", what, ranks[98], "ms", target=TARGET_P99_MS, cpu=cpu_ms), detail)


if __name__ == "__main__":
    main()
