"""The examples of subscribers follow what is told on a real bus."""

import asyncio
import sys
from pathlib import Path

from tests.integration.test_query_api import AT_US, decided, tell

from sluice.contracts.audit import Loss
from sluice.runtime import streams
from sluice.runtime.bus import Bus
from sluice.runtime.natsserver import NatsServer

EXAMPLES = Path(__file__).parents[2] / "examples" / "subscribers"


async def test_the_python_example_tells_of_denied_connections(server: NatsServer, bus: Bus) -> None:
    await streams.ensure(bus)
    await tell(bus, "0", decided(AT_US))  # before it begins
    following = await asyncio.create_subprocess_exec(
        sys.executable, EXAMPLES / "denied.py", server.url, stdout=asyncio.subprocess.PIPE
    )
    assert following.stdout is not None
    try:
        async with asyncio.timeout(60):
            assert await following.stdout.readline() == b"following\n"
            told = decided(AT_US), decided(AT_US, "Allow"), Loss(at_us=AT_US, lines=3, reason="the rate limit")
            await tell(bus, "1", *told)
            await tell(bus, "1", *told)  # sent again
            await tell(bus, "2", decided(AT_US, "Reject"))
            said = [(await following.stdout.readline()).decode().split(" ", 2)[2] for _ in range(3)]
    finally:
        following.kill()
        await following.wait()
    assert said == [
        "Drop 10.0.0.1 -> 10.0.0.2:80 by K8sNetworkPolicy:x/closed (1 packets)\n",
        "LOST 3 lines: the rate limit\n",
        "Reject 10.0.0.1 -> 10.0.0.2:80 by K8sNetworkPolicy:x/closed (1 packets)\n",
    ]
