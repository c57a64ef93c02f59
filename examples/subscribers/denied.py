"""Follows denied connections on Sluice's bus: `python denied.py [NATS_URL]`. Needs nats-py alone."""

import asyncio
import json
import sys
from datetime import UTC, datetime

import nats
from nats.js.api import ConsumerConfig, DeliverPolicy


def line(node: str, event: dict) -> str | None:
    """What is printed of an event; None for what was allowed."""
    when = datetime.fromtimestamp(event["at_us"] / 1e6, UTC).isoformat(timespec="milliseconds")
    if event["type"] == "loss":
        return f"{when} {node} LOST {event['lines']} lines: {event['reason']}"
    if event.get("action") not in ("Drop", "Reject"):
        return None
    port = f":{event['destination_port']}" if "destination_port" in event else ""
    ends = f"{event['source']} -> {event['destination']}{port}"
    return f"{when} {node} {event['action']} {ends} by {event['policy']} ({event.get('packets', 1)} packets)"


async def main(url: str) -> None:
    bus = await nats.connect(url)
    told = await bus.jetstream().subscribe(
        "audit.>", stream="AUDIT", ordered_consumer=True, config=ConsumerConfig(deliver_policy=DeliverPolicy.NEW)
    )
    print("following", flush=True)
    seen: set[str] = set()
    async for message in told.messages:
        batch = json.loads(message.data)
        if batch["id"] in seen:
            continue  # sent again: a collector that was not sure
        seen.add(batch["id"])
        for event in batch["events"]:
            if (said := line(batch["node"], event)) is not None:
                print(said, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "nats://localhost:4222"))
