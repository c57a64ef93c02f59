"""P21: 10,000 Pods of 3 kB from a Kubernetes API to LEDGER: from the start of ingest to its marks.

The API server is the double of testkit, in a process of its own, over HTTP; the measured process reads and stores. What
the double takes to send is part of the figure, and told apart by a client that only fetches.
"""

import asyncio
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.figures import Figure, show

from sluice.contracts.kinds import RESOURCES, Kind
from sluice.drivers.kubernetes.access import Access
from sluice.drivers.kubernetes.client import Client
from sluice.drivers.kubernetes.paging import listed
from sluice.runtime.bus import Bus
from sluice.runtime.natsserver import NatsServer
from sluice.services.ingest import app
from sluice.services.ingest.settings import IngestSettings
from sluice.testkit.apiserver.server import ApiServer
from sluice.testkit.apiserver.workloads import pod

PODS = 10_000
TARGET_S = 2.0


async def serve(streaming: str) -> None:
    """The double, until its standard input ends; says its address."""
    async with ApiServer.run() as server:
        server.faults.streaming_lists = streaming == "streaming"
        shelf = server.store.shelf("pods")
        for number in range(PODS):
            address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
            server.store.put(shelf, pod(f"namespace-{number // 100}", f"pod-{number}", ip=address))
        print(json.dumps(server.url), flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def measure(folder: Path, streaming: str) -> tuple[float, float, float]:
    """Seconds until all is stored and marked, seconds of CPU of ingest, seconds of a bare fetch."""
    served = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench.ingest_p21",
        "serve",
        streaming,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert served.stdout
    assert served.stdin
    url = json.loads(await served.stdout.readline())
    nats = await NatsServer.start(folder / "nats")
    try:
        async with await Bus.connect(nats.url, name="bench") as bus, Client(Access(master=url), "bench") as client:
            began = time.perf_counter()
            await listed(client, RESOURCES[Kind.POD], len)
            fetched_s = time.perf_counter() - began
            settings = IngestSettings(source="kubernetes", master=url, lease_namespace="bench")
            began, used = time.perf_counter(), time.process_time()
            lease = app.lease_of(client, settings)
            await lease.claim()
            async with app.mirrored(bus, client, lease, settings) as (shell, source):
                tasks = [asyncio.create_task(source.run()), asyncio.create_task(shell.run())]
                await shell.in_sync.wait()
                found = time.perf_counter() - began, time.process_time() - used, fetched_s
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            return found
    finally:
        await nats.stop()
        served.stdin.close()
        await served.wait()


def main() -> None:
    for streaming in ("streaming", "paged"):
        with tempfile.TemporaryDirectory() as folder:
            took_s, used_s, fetched_s = asyncio.run(measure(Path(folder), streaming))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        what = f"{PODS:,} Pods of 3 kB from Kubernetes to LEDGER, {streaming} list"
        show(
            Figure("P21", what, took_s, "s", target=TARGET_S, cpu=used_s),
            f"fetching them in pages alone takes {fetched_s:.2f} s; peak memory so far {peak} MB",
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve(sys.argv[2]))
    else:
        main()
