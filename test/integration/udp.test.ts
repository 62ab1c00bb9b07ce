/** Datagrams for real containers: held in order while they start, in flows that keep the target awake. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { type TestContainer, udpEcho } from "../support/engine/containers.ts";
import { engineTest, startsOf } from "../support/engine/lab.ts";
import type { Wakeport } from "../support/engine/wakeport.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { checkLeaks } from "../support/leaks.ts";
import { numbered } from "../support/net/udp.ts";

checkLeaks();

/** The echoes without the word that identifies the run. */
function texts(received: readonly string[]): string[] {
  return received.map((text) => text.slice(text.indexOf(" ") + 1));
}

async function flowsOf(wakeport: Wakeport, service: string): Promise<number | undefined> {
  return (await wakeport.metric("wakeport_flows_active")).get(`{service="${service}"}`);
}

async function dropped(wakeport: Wakeport): Promise<Record<string, number>> {
  const samples = await wakeport.metric("wakeport_datagrams_dropped_total");
  const counted = [...samples].filter(([, count]) => count > 0);
  return Object.fromEntries(counted.map(([labels, count]) => [/reason="(\w+)"/.exec(labels)?.[1], count]));
}

engineTest("a sleeping container gets all datagrams in order, including those from before it listened", async (lab) => {
  const target = await lab.container({ program: udpEcho({ delayMs: 300 }) });
  const udp = { flow_timeout: "300ms" };
  const wakeport = await lab.wakeport({ echo: { to: target, listenPort: "udp", udp, idle_timeout: "300ms" } });
  using client = await wakeport.sender("echo");
  const sent = numbered("word", 100);
  client.send(...sent);
  assert.deepEqual(texts(await client.receives(100)), sent);
  const activation = await wakeport.activation();
  assert.equal(activation.outcome, "ready");

  await eventually("the flow is reported", () => wakeport.record.connections.length === 1);
  const { id, at, durationMs, waitMs, client: name, listener: listenPort, ...report } = wakeport.record.connections[0]!;
  assert.deepEqual(report, {
    service: "echo",
    outcome: "relayed",
    start: "cold",
    bytesIn: sent.join("").length,
    bytesOut: client.received.join("").length,
    end: "idle",
  });
  assert.equal(name, `127.0.0.1:${client.port}`);
  assert.match(listenPort, /^127\.0\.0\.1:\d+\/udp$/);
  await wakeport.until("echo", "asleep");
  assert.equal(await flowsOf(wakeport, "echo"), 0);
  assert.deepEqual(await dropped(wakeport), {});
  assert.equal(await startsOf(lab, target), 1);
});

engineTest("a container that takes seconds to listen gets all datagrams: refusals become rare", async (lab) => {
  const target = await lab.container({ program: udpEcho({ delayMs: 3_000 }) });
  const wakeport = await lab.wakeport({ echo: { to: target, listenPort: "udp" } });
  using client = await wakeport.sender("echo");
  using other = await wakeport.sender("echo");
  client.send(...numbered("one", 20));
  other.send(...numbered("other", 20));
  assert.deepEqual(texts(await client.receives(20)), numbered("one", 20));
  assert.deepEqual(texts(await other.receives(20)), numbered("other", 20));
  await endFlows(wakeport);
});

engineTest("fifty clients at once cause one start, and one flow each", async (lab) => {
  const target = await lab.container({ program: udpEcho({ delayMs: 100 }) });
  const wakeport = await lab.wakeport({ echo: { to: target, listenPort: "udp", udp: { flow_timeout: "3s" } } });
  using opened = new DisposableStack();
  const clients = await Promise.all(Array.from({ length: 50 }, async () => opened.use(await wakeport.sender("echo"))));
  for (const [index, client] of clients.entries()) client.send(...numbered(`client ${index}`, 20));
  for (const [index, client] of clients.entries()) {
    assert.deepEqual(texts(await client.receives(20)), numbered(`client ${index}`, 20));
  }
  await eventually("the flow table is empty", async () => (await flowsOf(wakeport, "echo")) === 0);
  assert.equal(await startsOf(lab, target), 1);
  assert.deepEqual(await dropped(wakeport), {});
});

engineTest("connections and datagrams of one service share one target, and each keeps it awake", async (lab) => {
  const target = await lab.container({ program: udpEcho({ tcp: true }) });
  const settings = { to: target, listenPort: "both", idle_timeout: "200ms", udp: { flow_timeout: "1s" } } as const;
  const wakeport = await lab.wakeport({ echo: settings });
  using client = await wakeport.sender("echo");
  client.send("word");
  using peer = await wakeport.connect("echo");
  await peer.ended();
  peer.end();
  await client.receives(1);
  const [incarnation] = client.received[0]?.split(" ") ?? [];
  assert.equal(peer.text, `220 ${incarnation}\n`);
  await eventually("the connection has ended", () => wakeport.record.connections.length === 1);
  assert.equal(wakeport.state("echo"), "ready", "the flow is still open");
  await wakeport.until("echo", "asleep");
  assert.equal(await startsOf(lab, target), 1);
});

engineTest("a container that dies during a flow ends the flow, and the next datagram wakes it again", async (lab) => {
  const target = await lab.container({ program: udpEcho() });
  const wakeport = await lab.wakeport({ echo: { to: target, listenPort: "udp" } });
  using client = await wakeport.sender("echo", 2);
  client.send("before");
  await client.receives(1);
  await target.kill();
  await eventually("the flow has ended", () => wakeport.record.connections[0]?.end === "target_gone");
  await wakeport.until("echo", "asleep");
  client.send("after");
  const received = await client.receives(2);
  assert.deepEqual(texts(received), ["before", "after"]);
  assert.notEqual(received[0]?.split(" ")[0], received[1]?.split(" ")[0], "another run replies");
  await endFlows(wakeport);
});

engineTest("sources beyond the flow limit are dropped and counted, and start nothing", async (lab) => {
  const target = await lab.container({ program: udpEcho({ delayMs: 200 }) });
  const wakeport = await lab.wakeport({ echo: { to: target, listenPort: "udp", udp: { flows: 5 } } });
  using opened = new DisposableStack();
  const clients = await Promise.all(
    Array.from({ length: 40 }, async (_, index) => opened.use(await wakeport.sender("echo", index < 5 ? 1 : 0))),
  );
  for (const client of clients) client.send("word");
  await eventually("the other datagrams are dropped", async () => (await dropped(wakeport))["flows"] === 35);
  await eventually(
    "five datagrams are answered",
    () => clients.filter(({ received }) => received.length > 0).length === 5,
  );
  assert.equal(await flowsOf(wakeport, "echo"), 5);
  assert.equal(await startsOf(lab, target), 1);
  await endFlows(wakeport);
});

/** Replies to each TFTP request from a new port, with the blocks of a file. The last block is short. */
const tftpServer = `
  const dgram = require("node:dgram");
  dgram.createSocket("udp4").on("message", (request, from) => {
    const transfer = dgram.createSocket("udp4");
    const send = (block) => {
      const text = block < 20 ? String(block).padStart(512, ".") : "end";
      transfer.send(Buffer.concat([Buffer.from([0, 3, 0, block]), Buffer.from(text)]), from.port, from.address);
    };
    transfer.on("message", (packet) => packet[1] === 4 && packet[3] < 20 && send(packet[3] + 1));
    send(1);
  }).bind(69);
  process.on("SIGTERM", () => process.exit(0));
`;

engineTest("a TFTP server in a container replies from another port, and the file is complete", async (lab) => {
  const target = await lab.container({ program: tftpServer });
  const udp = { flow_timeout: "1s" };
  const wakeport = await lab.wakeport({
    boot: { to: target, listenPort: "udp", port: 69, udp, idle_timeout: "300ms" },
  });
  using client = await wakeport.sender("boot");
  client.send("\0\x01file\0octet\0");
  for (let block = 1; block <= 20; block += 1) {
    await client.receives(block);
    const text = block < 20 ? String(block).padStart(512, ".") : "end";
    assert.equal(client.received[block - 1], `\0\x03\0${String.fromCharCode(block)}${text}`);
    client.send(`\0\x04\0${String.fromCharCode(block)}`);
  }
  await wakeport.until("boot", "asleep");
});

engineTest("a container that cannot be started only loses the datagrams of its clients", async (lab) => {
  const target = await lab.container({ command: ["sh", "-c", "exit 3"] });
  const wakeport = await lab.wakeport({ echo: { to: target, listenPort: "udp", start_timeout: "2s" } });
  using client = await wakeport.sender("echo");
  client.send("one", "two");
  await eventually("the flow is reported", () => wakeport.record.connections.length === 1);
  const { outcome } = wakeport.record.connections[0]!;
  assert.ok(["start_failed", "dial_failed"].includes(outcome), outcome);
  await eventually("both datagrams are dropped", async () => (await dropped(wakeport))["not_started"] === 2);
  await wakeport.until("echo", "asleep");
});

engineTest(
  "labels can declare /udp; a container recreated with other labels gets the same port",
  async (lab) => {
    const project = `wakeport-test-${randomBytes(4).toString("hex")}`;
    const listenPort = await freePort();
    const make = (more: Readonly<Record<string, string>>): Promise<TestContainer> =>
      lab.container({
        program: udpEcho(),
        labels: {
          "com.docker.compose.project": project,
          "com.docker.compose.service": "echo",
          "com.docker.compose.container-number": "1",
          "com.docker.compose.oneoff": "False",
          "wakeport.enable": "true",
          "wakeport.ports": `127.0.0.1:${listenPort}:7000/udp`,
          "wakeport.udp.flow_timeout": "500ms",
          ...more,
        },
      });
    const first = await make({});
    const wakeport = await lab.wakeport({}, { docker: { project, discover: true } });
    wakeport.mayWake(first, `container ${project}/echo`);
    await eventually("the container is a service", () => wakeport.status.services.length === 1);
    using client = await wakeport.sender("echo", 2);
    client.send("before");
    await client.receives(1);
    await first.remove();
    await eventually("the flow has ended", () => wakeport.record.connections.length === 1);
    const second = await make({ "wakeport.idle_timeout": "400ms" });
    wakeport.mayWake(second, `container ${project}/echo`);
    await eventually(
      "the port belongs to the new container",
      () => wakeport.status.services[0]?.idle_timeout_ms === 400,
    );
    client.send("after");
    await eventually("the new container replies", () => texts(client.received).includes("after"));
    await eventually("the flow has ended", () => wakeport.record.connections.length === 2);
  },
  { isJournalled: false },
);

/** Closes the client: flows that would last half a minute end after a second. */
async function endFlows(wakeport: Wakeport): Promise<void> {
  const flows = (await flowsOf(wakeport, "echo")) ?? 0;
  const before = wakeport.record.connections.length;
  await wakeport.close();
  await eventually("the flows have ended", () => wakeport.record.connections.length === before + flows);
}

engineTest("datagrams from denied addresses or above a limit start nothing and are reported", async (lab) => {
  const [closed, narrow] = [await lab.container({ program: udpEcho() }), await lab.container({ program: udpEcho() })];
  const wakeport = await lab.wakeport({
    closed: { to: closed, listenPort: "udp", access: { deny: ["127.0.0.0/8"] } },
    narrow: { to: narrow, listenPort: "udp", limits: { connections: 1 }, udp: { flow_timeout: "1s" } },
  });
  using denied = await wakeport.sender("closed", 3);
  denied.send(...numbered("word", 3));
  await eventually("three datagrams are rejected", () => wakeport.record.connections.length === 3);
  assert.deepEqual(new Set(wakeport.record.connections.map(({ reason }) => reason)), new Set(["address"]));
  assert.equal(await startsOf(lab, closed), 0);

  using first = await wakeport.sender("narrow");
  first.send("word");
  await first.receives(1);
  using second = await wakeport.sender("narrow");
  second.send("word");
  await eventually("one more datagram is rejected", () => wakeport.record.connections.length === 4);
  assert.equal(wakeport.record.connections[3]?.reason, "service_limit");
  assert.deepEqual(second.received, []);
});
