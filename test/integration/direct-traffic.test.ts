/** Use of a container that bypasses wakeport keeps it awake; the background traffic of a network does not. */
import assert from "node:assert/strict";
import { type ContainerSpec, echo, type TestContainer, udpEcho } from "../support/engine/containers.ts";
import { engineTest, type Lab } from "../support/engine/lab.ts";
import { PORT, type Wakeport } from "../support/engine/wakeport.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { checkLeaks } from "../support/leaks.ts";
import { connecting, type Peer } from "../support/net/tcp.ts";

checkLeaks();

const IDLE = { idle_timeout: "1s" };
const NEIGHBOURS = 20;
const TRAFFIC = /^\d+ (B|kB) of direct traffic$/;

/** Waits until an idle check finds the target in use. */
async function keptAwakeBy(wakeport: Wakeport): Promise<readonly string[]> {
  await eventually("the target is kept awake", () => wakeport.status.services[0]?.kept_awake_by !== undefined);
  return wakeport.status.services[0]?.kept_awake_by ?? [];
}

async function asleep(container: TestContainer): Promise<void> {
  await eventually(`${container.name} is down`, async () => !(await container.isAwake()));
}

/** Runs `body` while a client of wakeport keeps the target awake. */
async function withClient<T>(wakeport: Wakeport, body: () => Promise<T>): Promise<T> {
  const client = await wakeport.connect("echo");
  try {
    await eventually("a greeting", () => client.text.endsWith("\n"));
    return await body();
  } finally {
    client.end();
  }
}

/** Runs `body` while a client sends bytes every 100 ms; afterwards the client closes its connection. */
async function talking(client: Peer, body: () => Promise<void>): Promise<void> {
  const talk = setInterval(() => client.send("still here\n".repeat(50)), 100);
  try {
    await body();
  } finally {
    clearInterval(talk);
    client.end();
  }
}

/** A container with one connection to a target, on which it sends `bytes` bytes every 100 ms; 0: none. */
async function pool(lab: Lab, address: string, network: string, bytes = 64): Promise<TestContainer> {
  const program = `
    const socket = require("node:net").connect(${PORT}, ${JSON.stringify(address)});
    socket.on("error", () => process.exit(1)).resume().on("connect", () => console.log("connected"));
    setInterval(() => ${bytes} > 0 && socket.write("x".repeat(${bytes})), 100);
    process.on("SIGTERM", () => process.exit(0));
  `;
  const container = await lab.container({ program, network });
  await container.start();
  await eventually("the pool is connected", async () => (await container.output()).includes("connected"));
  return container;
}

engineTest("a connection pool in another container keeps a target awake until the pool ends", async (lab) => {
  const network = await lab.engine.network();
  const target = await lab.container({ program: echo(), network });
  const wakeport = await lab.wakeport({ echo: { to: target, ...IDLE } });
  const other = await withClient(wakeport, async () => pool(lab, await target.address(network), network));
  const [reason = ""] = await keptAwakeBy(wakeport);
  assert.match(reason, TRAFFIC);
  assert.ok(await target.isAwake());
  await other.stop(1);
  await asleep(target);
});

engineTest("a download through a published port is not cut", async (lab) => {
  const published = await freePort();
  const target = await lab.container({ program: echo({ port: published }), published: [`${published}/tcp`] });
  const wakeport = await lab.wakeport({ echo: { to: target, port: published, ...IDLE } });
  using client = await withClient(wakeport, async () => connecting(published));
  await talking(client, async () => {
    const [reason = ""] = await keptAwakeBy(wakeport);
    assert.match(reason, TRAFFIC);
    assert.equal(client.fate, "open");
  });
  await asleep(target);
});

engineTest("an exec session keeps a target awake until it ends", async (lab) => {
  const target = await lab.container({ program: echo() });
  const wakeport = await lab.wakeport({ echo: { to: target, ...IDLE } });
  const session = await withClient(wakeport, async () => {
    const exec = await lab.engine.docker.getContainer(target.id).exec({ Cmd: ["sleep", "600"] });
    await exec.start({ Detach: true });
    return exec;
  });
  assert.deepEqual(await keptAwakeBy(wakeport), ["1 exec session"]);
  const { Pid } = await session.inspect();
  process.kill(Pid, "SIGKILL");
  await asleep(target);
});

engineTest("health checks do not keep a target awake", async (lab) => {
  const healthcheck = { command: "sleep 0.3", retries: 3 };
  const target = await lab.container({ program: echo(), healthcheck });
  const wakeport = await lab.wakeport({ echo: { to: target, ...IDLE } });
  await wakeport.greeted("echo");
  await asleep(target);
});

engineTest("a quiet network with twenty neighbours does not keep a target awake", async (lab) => {
  const network = await lab.engine.network();
  const target = await lab.container({ program: echo(), network });
  // Each sends ARP requests for an unused address: one broadcast a second that the target receives.
  const chatty: ContainerSpec = {
    command: ["sh", "-c", 'trap "exit 0" TERM; ping -i 1 $(hostname -i | sed "s/[0-9]*$/254/") & wait'],
    network,
  };
  const neighbours = await Promise.all(Array.from({ length: NEIGHBOURS }, () => lab.container(chatty)));
  await Promise.all(neighbours.map((neighbour) => neighbour.start()));
  const wakeport = await lab.wakeport({ echo: { to: target, idle_timeout: "3s" } });
  await wakeport.greeted("echo");
  await asleep(target);
  assert.deepEqual(wakeport.record.keptAwake, []);
  for (const neighbour of neighbours) assert.ok(await neighbour.isAwake());
});

engineTest("a connection that died with a network change does not keep a target awake", async (lab) => {
  const [before, after] = [await lab.engine.network(), await lab.engine.network()];
  const target = await lab.container({ program: echo(), network: before });
  const wakeport = await lab.wakeport({ echo: { to: target, ...IDLE } });
  const client = await wakeport.connect("echo");
  await eventually("a greeting", () => client.text.endsWith("\n"));
  await lab.engine.docker.getNetwork(before).disconnect({ Container: target.id, Force: true });
  await target.join(after);
  client.socket.resetAndDestroy();
  await asleep(target);
});

engineTest("direct_traffic: ignore lets a target sleep under traffic", async (lab) => {
  const network = await lab.engine.network();
  const target = await lab.container({ program: echo(), network });
  const wakeport = await lab.wakeport({ echo: { to: target, ...IDLE, direct_traffic: "ignore" } });
  await withClient(wakeport, async () => pool(lab, await target.address(network), network));
  await asleep(target);
});

engineTest("direct_traffic: { threshold } lets a target sleep under less traffic", async (lab) => {
  const network = await lab.engine.network();
  const target = await lab.container({ program: udpEcho(), network });
  const service = { to: target, listenPort: "udp", udp: { flow_timeout: "300ms" } } as const;
  const wakeport = await lab.wakeport({ echo: { ...service, ...IDLE, direct_traffic: { threshold: "1m" } } });
  using client = await wakeport.sender("echo");
  client.send("wake up");
  await client.receives(1);
  // Datagrams, because an open connection always holds the target.
  const program = `
    const socket = require("node:dgram").createSocket("udp4");
    setInterval(() => socket.send("x".repeat(64), ${PORT}, ${JSON.stringify(await target.address(network))}), 50);
  `;
  await (await lab.container({ program, network })).start();
  await asleep(target);
});

engineTest("a silent connection from another container keeps a target awake", async (lab) => {
  const network = await lab.engine.network();
  const target = await lab.container({ program: echo(), network });
  const wakeport = await lab.wakeport({ echo: { to: target, ...IDLE } });
  const other = await withClient(wakeport, async () => pool(lab, await target.address(network), network, 0));
  assert.deepEqual(await keptAwakeBy(wakeport), ["1 direct connection"]);
  await other.stop(1);
  await asleep(target);
});

engineTest(
  "two wakeports with one container: the second does not stop it while the first serves a client",
  async (lab) => {
    const target = await lab.container({ program: echo() });
    const first = await lab.wakeport({ echo: { to: target, ...IDLE } });
    const second = await lab.wakeport({ echo: { to: target, ...IDLE } });
    using client = await first.connect("echo");
    await talking(client, async () => {
      await second.until("echo", "ready");
      const [reason = ""] = await keptAwakeBy(second);
      assert.match(reason, TRAFFIC);
      assert.equal(client.fate, "open");
    });
    await asleep(target);
  },
  // Each wakeport receives the events of the other's starts.
  { isJournalled: false },
);

/** A program with a silent connection. @param host a JavaScript expression */
function connected(host: string): string {
  const socket = `require("node:net").connect(${PORT}, ${host})`;
  return `${socket}.on("error", () => {}).resume().on("connect", () => console.log("connected"));`;
}

engineTest("a connection of a target to its own address does not keep it awake", async (lab) => {
  const network = await lab.engine.network();
  const program = `${echo()} setTimeout(() => { ${connected('require("node:os").hostname()')} }, 200);`;
  const target = await lab.container({ program, network });
  const wakeport = await lab.wakeport({ echo: { to: target, ...IDLE } });
  await withClient(wakeport, async () => {
    await eventually("the target is connected to itself", async () => (await target.output()).includes("connected"));
  });
  await asleep(target);
  assert.deepEqual(wakeport.record.keptAwake, []);
});

for (const sleep of ["stop", "pause"] as const) {
  engineTest(
    `the silent pool of a dependent that sleeps by ${sleep} does not keep its dependency awake`,
    async (lab) => {
      const network = await lab.engine.network();
      const db = await lab.container({ program: echo(), network });
      const web = await lab.container({ program: `${echo()} ${connected(JSON.stringify(db.name))}`, network });
      const wakeport = await lab.wakeport({
        echo: { to: web, ...IDLE, depends_on: ["db"], sleep },
        db: { to: db, ...IDLE },
      });
      await withClient(wakeport, async () => {
        await eventually("the pool is connected", async () => (await web.output()).includes("connected"));
      });
      await asleep(web);
      await asleep(db);
      assert.deepEqual(wakeport.record.keptAwake, []);
    },
  );
}
