// Follows denied connections on Sluice's bus: `node denied.mjs [NATS_URL]`.
// Needs @nats-io/transport-node and @nats-io/jetstream.

import { jetstream, DeliverPolicy } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";

function line(node, event) {
  const when = new Date(event.at_us / 1000).toISOString();
  if (event.type === "loss") {
    return `${when} ${node} LOST ${event.lines} lines: ${event.reason}`;
  }
  if (event.action !== "Drop" && event.action !== "Reject") {
    return undefined; // allowed
  }
  const port = event.destination_port === undefined ? "" : `:${event.destination_port}`;
  const ends = `${event.source} -> ${event.destination}${port}`;
  return `${when} ${node} ${event.action} ${ends} by ${event.policy} (${event.packets ?? 1} packets)`;
}

const bus = await connect({ servers: process.argv[2] ?? "nats://localhost:4222" });
const consumer = await jetstream(bus).consumers.get("AUDIT", {
  filter_subjects: ["audit.>"],
  deliver_policy: DeliverPolicy.New,
});
console.log("following");
const seen = new Set();
for await (const message of await consumer.consume()) {
  const batch = message.json();
  if (seen.has(batch.id)) {
    continue; // sent again: a collector that was not sure
  }
  seen.add(batch.id);
  for (const event of batch.events) {
    const said = line(batch.node, event);
    if (said !== undefined) {
      console.log(said);
    }
  }
}
