/** Targets in all kinds of networks, woken from the host. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { echo, type TestContainer } from "../support/engine/containers.ts";
import { engineTest, type Lab, startsOf } from "../support/engine/lab.ts";
import { PORT, type ServiceSpec, type Wakeport } from "../support/engine/wakeport.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

/** Sends the dialled address as its greeting. */
const WHERE = `
  const greet = (socket) => socket.on("error", () => {}).end(socket.localAddress);
  require("node:net").createServer(greet).listen(${PORT});
  process.on("SIGTERM", () => process.exit(0));
`;

/** The greeting of the program behind a service. */
async function greetingOf(wakeport: Wakeport, service: string): Promise<string> {
  using peer = await wakeport.connect(service);
  assert.equal(await peer.ended(), "ended");
  return peer.text;
}

/** Asserts that a client is rejected and the target not started. @returns the message */
async function refused(lab: Lab, to: TestContainer, settings: Omit<ServiceSpec, "to"> = {}): Promise<string> {
  const wakeport = await lab.wakeport({ it: { to, ...settings } });
  // The first inspection returns the networks.
  await eventually(
    "the target was inspected",
    async () => (await wakeport.metric("wakeport_engine_requests_total")).size > 0,
  );
  using peer = await wakeport.connect("it");
  assert.equal(await peer.ended(), "ECONNRESET");
  const { error } = await wakeport.activation();
  assert.ok(error !== undefined && "remedy" in error);
  await wakeport.until("it", "asleep");
  return `${error.message}: ${error.remedy}`;
}

engineTest("a target in the host network is dialled on the loopback", async (lab) => {
  const port = await freePort();
  const target = await lab.container({ program: echo({ port, host: "127.0.0.1" }), network: "host" });
  const wakeport = await lab.wakeport({ echo: { to: target, port } });
  await wakeport.greeted("echo");
});

engineTest('"network:" chooses one of the target\'s networks', async (lab) => {
  const networks = [await lab.engine.network(), await lab.engine.network()] as const;
  for (const network of networks) {
    const target = await lab.container({ program: WHERE, network: networks[0] });
    await target.join(networks[1]);
    const wakeport = await lab.wakeport({ it: { to: target, network } });
    const answer = await greetingOf(wakeport, "it");
    assert.equal(answer.replace("::ffff:", ""), await target.address(network));
  }
});

engineTest("a target without a network is rejected at once with the remedy, and not started", async (lab) => {
  const target = await lab.container({ program: echo(), network: "none" });
  assert.match(await refused(lab, target), /has no network \(network_mode: none\).*: remove "network_mode: none"/);
  assert.equal(await startsOf(lab, target), 0);
});

engineTest("a target that is not in the configured network is rejected at once, and not started", async (lab) => {
  const target = await lab.container({ program: echo() });
  assert.match(
    await refused(lab, target, { network: "lan" }),
    /not in network "lan", only in bridge: .*network: bridge/,
  );
  assert.equal(await startsOf(lab, target), 0);
});

engineTest(
  "a target that uses another container's network is dialled at that container's current address",
  async (lab) => {
    const holder = await lab.container({ command: ["sleep", "3600"] });
    await holder.start();
    const target = await lab.container({ program: echo(), network: `container:${holder.id}` });
    const wakeport = await lab.wakeport({ echo: { to: target, start_timeout: "1s", idle_timeout: "1s" } });
    await wakeport.greeted("echo");
    await wakeport.until("echo", "ready");
    // The network of the running target is gone now.
    await holder.restart(0);
    await eventually("the target is stopped, and served in the new network", async () => {
      using peer = await wakeport.connect("echo");
      await eventually("a greeting or a reset", () => peer.text !== "" || peer.fate !== "open");
      return peer.text !== "";
    });
    const reported = wakeport.record.activations.map(({ error }) => error?.message ?? "");
    assert.ok(
      reported.some((message) => message.includes(`${holder.name}, whose network it uses, was started after it`)),
    );
  },
);

engineTest("a target that uses the network of a stopped container: that container is started first", async (lab) => {
  const holder = await lab.container({ command: ["sleep", "3600"] });
  const target = await lab.container({ program: echo(), network: `container:${holder.id}` });
  const wakeport = await lab.wakeport({ echo: { to: target } });
  wakeport.mayWake(holder, `container ${holder.name}`);
  await wakeport.greeted("echo");
  await lab.engine.catchUp();
  const started = lab.engine.events.filter(({ action }) => action === "start").map(({ id }) => id);
  assert.deepEqual(started.slice(-2), [holder.id, target.id]);
});

engineTest(
  "a target whose network was removed with a container must be recreated, and the error contains that",
  async (lab) => {
    const holder = await lab.container({ command: ["sleep", "3600"] });
    const labels = { "com.docker.compose.service": "web" };
    const target = await lab.container({ program: echo(), network: `container:${holder.id}`, labels });
    await holder.remove();
    const reported = await refused(lab, target);
    assert.match(reported, /which does not exist any more: recreate it: docker compose up -d --force-recreate web$/);
  },
);

/** A proxy of the engine that removes IPv4 addresses, like an engine with IPv6 networks only. */
class WithoutIPv4 implements AsyncDisposable {
  readonly #folder: string;
  readonly #server: http.Server;

  private constructor(folder: string, server: http.Server) {
    this.#folder = folder;
    this.#server = server;
  }

  static async open(): Promise<WithoutIPv4> {
    const folder = await mkdtemp(path.join(tmpdir(), "wakeport-test-"));
    const server = http.createServer((asked, answer) => void pass(asked, answer).catch(() => answer.destroy()));
    server.listen(path.join(folder, "docker.sock"));
    await once(server, "listening");
    return new WithoutIPv4(folder, server);
  }

  get host(): string {
    return `unix://${this.#folder}/docker.sock`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    await rm(this.#folder, { recursive: true });
  }
}

async function pass(asked: http.IncomingMessage, answer: http.ServerResponse): Promise<void> {
  const { method, url, headers } = asked;
  const onward = http.request({
    socketPath: "/var/run/docker.sock",
    agent: false,
    ...(method && { method }),
    ...(url && { path: url }),
    headers,
  });
  onward.on("error", () => answer.destroy());
  answer.on("close", () => onward.destroy());
  asked.pipe(onward);
  const [given] = (await once(onward, "response")) as [http.IncomingMessage];
  given.on("error", () => answer.destroy());
  if (!/^\/containers\/[^/]+\/json/.test(url ?? "")) {
    answer.writeHead(given.statusCode ?? 500, given.headers).flushHeaders();
    given.pipe(answer);
    return;
  }
  const body = (await text(given)).replace(/"IPAddress":"[^"]*"/g, '"IPAddress":""');
  answer.writeHead(given.statusCode ?? 500, { "content-type": "application/json" }).end(body);
}

engineTest("a target in a network with IPv6 only is dialled over IPv6", async (lab) => {
  const subnet = `fd00:${(process.pid % 65536).toString(16)}::/64`;
  const network = await lab.engine.network({
    EnableIPv6: true,
    IPAM: { Driver: "default", Config: [{ Subnet: subnet }] },
  });
  const target = await lab.container({ program: WHERE, network });
  await using engine = await WithoutIPv4.open();
  const wakeport = await lab.wakeport({ it: { to: target } }, { docker: { host: engine.host } });
  await eventually("the engine responds", () => wakeport.isEngineUp);
  assert.match(await greetingOf(wakeport, "it"), /^fd00:.*::2$/);
  await wakeport.settle();
  await wakeport.close();
});
