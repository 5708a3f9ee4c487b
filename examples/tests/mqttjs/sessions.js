// Clients of npm's mqtt package with sessions, whose sockets are cut again and again while they publish and
// subscribe: nothing is lost, and at QoS 2 nothing comes twice. Exits with 0 if so.
//
// Usage: node sessions.js PORT VERSION, where VERSION is 5 or 311. NODE_PATH says where mqtt is.

"use strict";

const assert = require("node:assert");
const { connectAsync } = require("mqtt");

const [port, version] = process.argv.slice(2);
const MESSAGES = 100;
// A message that is not confirmed when the connection ends may be said to have failed, and may have come.
const open = (clientId) =>
  connectAsync(`mqtt://127.0.0.1:${port}`, {
    clientId,
    protocolVersion: version === "5" ? 5 : 4,
    clean: false,
    reconnectPeriod: 5,
    properties: version === "5" ? { sessionExpiryInterval: 1000 } : undefined,
  });
// A test that hangs fails.
const patience = setTimeout(() => assert.fail("not all messages came"), 25_000);

async function throughCuts(qos) {
  const topic = `cuts/${version}/${qos}`;
  const subscriber = await open(`s-${version}-${qos}`);
  const publisher = await open(`p-${version}-${qos}`);
  const got = [];
  const last = new Promise((resolve) => {
    subscriber.on("message", (_, payload) => {
      got.push(payload.toString());
      if (got.length % 15 === 0) subscriber.stream.destroy();
      if (got[got.length - 1] === "last") resolve();
    });
  });
  for (const client of [subscriber, publisher]) client.on("error", () => {});
  await subscriber.subscribeAsync(topic, { qos });
  const confirmed = [];
  for (let number = 0; number < MESSAGES; number += 10) {
    const batch = Array.from({ length: 10 }, (_, index) => `${number + index}`);
    const sent = batch.map((text) => {
      const publishing = publisher.publishAsync(topic, text, { qos });
      return publishing.then(() => confirmed.push(text), () => {});
    });
    publisher.stream.destroy();
    await Promise.all(sent);
  }
  await publisher.publishAsync(topic, "last", { qos });
  await last;
  const missing = confirmed.filter((text) => !got.includes(text));
  assert.deepStrictEqual(missing, [], `QoS ${qos}`);
  assert.ok(confirmed.length >= MESSAGES / 2, `${confirmed.length} confirmed`);
  if (qos === 2) assert.strictEqual(new Set(got).size, got.length, `twice: ${got}`);
  await subscriber.endAsync();
  await publisher.endAsync();
}

async function main() {
  for (const qos of [1, 2]) await throughCuts(qos);
  clearTimeout(patience);
  console.log("all as it should be");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
