// A client of npm's mqtt package through a WebSocket: every QoS in both directions, a payload of
// several frames, a retained message and a will. Exits with 0 if all of it came as it should.
//
// Usage: node websocket.js PORT VERSION, where VERSION is 5 or 311. NODE_PATH says where mqtt is.

"use strict";

const assert = require("node:assert");
const { connectAsync } = require("mqtt");

const [port, version] = process.argv.slice(2);
const url = `ws://127.0.0.1:${port}/mqtt`;
const options = {
  protocolVersion: version === "5" ? 5 : 4,
  reconnectPeriod: 0,
  connectTimeout: 20_000,
};
// A test that hangs fails.
const patience = setTimeout(() => assert.fail("not all messages came"), 25_000);

/// Collects messages until there are so many.
function collect(client, count) {
  return new Promise((resolve, reject) => {
    const messages = [];
    client.on("error", reject);
    client.on("message", (topic, payload, packet) => {
      messages.push({ topic, payload, packet });
      if (messages.length === count) resolve(messages);
    });
  });
}

async function main() {
  const prefix = `js/${version}`;
  const subscriber = await connectAsync(url, options);
  const publisher = await connectAsync(url, {
    ...options,
    // As those before it: only messages of the same QoS have an order.
    will: { topic: `${prefix}/will`, payload: "gone", qos: 2 },
  });

  const payloads = ["small", Buffer.alloc(200_000, 7), ""];
  const coming = collect(subscriber, 3 * payloads.length + 1);
  const granted = await subscriber.subscribeAsync(`${prefix}/#`, { qos: 2 });
  assert.strictEqual(granted[0].qos, 2);
  for (const qos of [0, 1, 2]) {
    for (const payload of payloads) {
      await publisher.publishAsync(`${prefix}/${qos}`, payload, { qos });
    }
  }
  // Without a goodbye: the will comes last.
  publisher.stream.destroy();

  const messages = await coming;
  messages.slice(0, -1).forEach(({ topic, payload, packet }, index) => {
    const qos = Math.floor(index / payloads.length);
    assert.strictEqual(topic, `${prefix}/${qos}`);
    assert.strictEqual(packet.qos, qos);
    assert.ok(payload.equals(Buffer.from(payloads[index % payloads.length])));
  });
  const will = messages[messages.length - 1];
  assert.strictEqual(`${will.topic} ${will.payload}`, `${prefix}/will gone`);

  await subscriber.publishAsync(`${prefix}/kept`, "kept", { qos: 1, retain: true });
  const late = await connectAsync(url, options);
  const greeting = collect(late, 1);
  await late.subscribeAsync(`${prefix}/kept`, { qos: 1 });
  const [kept] = await greeting;
  assert.strictEqual(kept.packet.retain, true);
  assert.strictEqual(kept.payload.toString(), "kept");

  await late.endAsync();
  await subscriber.endAsync();
  clearTimeout(patience);
  console.log("all as it should be");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
