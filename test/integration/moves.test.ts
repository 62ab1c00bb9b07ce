/** A running target that moves between networks: clients reach it, and not the container at its old address. */
import assert from "node:assert/strict";
import { echo, type TestContainer, udpEcho } from "../support/engine/containers.ts";
import { engineTest, type Lab } from "../support/engine/lab.ts";
import { PORT, type Wakeport } from "../support/engine/wakeport.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";
import type { Peer } from "../support/net/tcp.ts";

checkLeaks();

/** A network with known addresses. */
async function subnet(lab: Lab): Promise<{ readonly name: string; readonly address: (host: number) => string }> {
  const base = `10.${200 + Math.floor(Math.random() * 50)}.${Math.floor(Math.random() * 250)}`;
  const name = await lab.engine.network({ IPAM: { Driver: "default", Config: [{ Subnet: `${base}.0/24` }] } });
  return { name, address: (host) => `${base}.${host}` };
}

async function join(lab: Lab, network: string, { id }: TestContainer, IPv4Address: string): Promise<void> {
  const EndpointConfig = { IPAMConfig: { IPv4Address } };
  await lab.engine.docker.getNetwork(network).connect({ Container: id, EndpointConfig });
}

async function leave(lab: Lab, network: string, { id }: TestContainer): Promise<void> {
  await lab.engine.docker.getNetwork(network).disconnect({ Container: id, Force: true });
}

/** A server that sends `name` as its greeting on the port of the tests. */
function named(name: string): string {
  return `require("node:net").createServer((client) => client.end(${JSON.stringify(`${name}\n`)})).listen(${PORT});
    process.on("SIGTERM", () => process.exit(0));`;
}

async function answer(wakeport: Wakeport): Promise<string> {
  using peer: Peer = await wakeport.connect("it");
  await eventually("a reply or an end", () => peer.text !== "" || peer.fate !== "open");
  return peer.text;
}

engineTest("a target with a new address is reached there, not the container at the old address", async (lab) => {
  const { name: network, address } = await subnet(lab);
  const target = await lab.container({ program: named("target") });
  const outsider = await lab.container({ program: named("outsider") });
  await leave(lab, "bridge", target);
  await join(lab, network, target, address(10));
  const wakeport = await lab.wakeport({ it: { to: target, start_timeout: "10s" } });
  assert.equal(await answer(wakeport), "target\n");

  await leave(lab, network, target);
  await join(lab, network, outsider, address(10));
  await outsider.start();
  const waiting = answer(wakeport);
  await join(lab, network, target, address(11));
  assert.equal(await waiting, "target\n");
  for (let client = 0; client < 5; client += 1) assert.equal(await answer(wakeport), "target\n");
});

engineTest(
  "a target without a network rejects clients with the reason, and serves them when it has a network",
  async (lab) => {
    const { name: network, address } = await subnet(lab);
    const target = await lab.container({ program: named("target") });
    await leave(lab, "bridge", target);
    await join(lab, network, target, address(10));
    const wakeport = await lab.wakeport({ it: { to: target, start_timeout: "10s" } });
    assert.equal(await answer(wakeport), "target\n");
    await leave(lab, network, target);
    await eventually("clients are rejected", async () => (await answer(wakeport)) === "");
    const { error } = wakeport.record.connections.at(-1) ?? {};
    assert.match(error?.message ?? "", /has no address|no network/);
    assert.ok(await target.isAwake());
    await join(lab, network, target, address(12));
    await eventually("the client is served", async () => (await answer(wakeport)) === "target\n");
  },
);

engineTest("an open connection continues when the target joins another network", async (lab) => {
  const other = await lab.engine.network();
  const target = await lab.container({ program: echo() });
  const wakeport = await lab.wakeport({ it: { to: target } });
  using client = await wakeport.connect("it");
  await eventually("a greeting", () => client.text.endsWith("\n"));
  await target.join(other);
  await wakeport.greeted("it");
  client.send("still here\n");
  await eventually("an echo", () => client.text.endsWith("still here\n"));
  client.end();
});

engineTest("datagrams are sent to the target's new address, not to the container at the old address", async (lab) => {
  const { name: network, address } = await subnet(lab);
  const target = await lab.container({ program: udpEcho() });
  const outsider = await lab.container({ program: udpEcho() });
  await leave(lab, "bridge", target);
  await join(lab, network, target, address(10));
  const wakeport = await lab.wakeport({ it: { to: target, listenPort: "udp", udp: { flow_timeout: "5s" } } });
  using client = await wakeport.sender("it", 2);
  client.send("one");
  await eventually("a reply", () => client.received.length === 1);
  const [incarnation] = String(client.received[0]).split(" ");

  await leave(lab, network, target);
  await join(lab, network, outsider, address(10));
  await outsider.start();
  await join(lab, network, target, address(11));
  await eventually("the first flow ended", () => wakeport.record.connections.length === 1);
  assert.equal(wakeport.record.connections[0]?.end, "target_moved");
  client.send("two");
  await eventually("a reply", () => client.received.length === 2);
  assert.equal(String(client.received[1]), `${incarnation} two`);
});
