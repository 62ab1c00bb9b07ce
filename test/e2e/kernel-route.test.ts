/** The example compose/kernel, and a restart of wakeport while its network namespace stays. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, suite, test } from "node:test";
import { BUILD_MS, COMMAND_MS, cannotCompose, run, succeeds } from "../support/engine/compose.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";

const EXAMPLE = path.join(import.meta.dirname, "../../compose/kernel/compose.yaml");
/** The example's idle timeout is 10 s. */
const SLEEP_MS = 60_000;
const CLIENTS = 100;
const project = `wakeport-test-kernel-${process.pid}`;

/** Echoes lines. */
const echo = 'require("node:net").createServer((s) => s.on("error", () => {}).pipe(s)).listen(8080)';

/** Without them, only `relay: kernel` forwards. */
const sysctls = {
  "net.ipv4.ip_forward": 1,
  "net.netfilter.nf_conntrack_tcp_timeout_close_wait": 3_600,
  "net.netfilter.nf_conntrack_tcp_timeout_fin_wait": 3_600,
};

const skip = await cannotCompose(["curl", "--version"]);

interface Route {
  readonly open: boolean;
  readonly reason?: string;
  readonly flows: number;
}

suite("the kernel route in containers", { skip }, () => {
  let override: string;
  let port: number;
  let admin: number;

  const compose = (...args: string[]): Promise<string> =>
    run("docker", ["compose", "-p", project, "-f", EXAMPLE, "-f", override, ...args], BUILD_MS);
  const container = (service: string): string => `${project}-${service}-1`;
  const state = async (): Promise<string> =>
    (await run("docker", ["inspect", "-f", "{{.State.Status}}", container("web")])).trim();
  const route = async (): Promise<Route> => {
    const answer = await fetch(`http://127.0.0.1:${admin}/api/v1/services`, { signal: AbortSignal.timeout(5_000) });
    const { services } = (await answer.json()) as { services: { kernel_route: Route }[] };
    return services[0]?.kernel_route ?? assert.fail();
  };
  const ready = (): Promise<void> =>
    eventually("wakeport is ready", () => succeeds("curl", "-sf", `http://127.0.0.1:${admin}/readyz`), COMMAND_MS);

  before(async () => {
    const folder = await mkdtemp(path.join(tmpdir(), "wakeport-test-"));
    override = path.join(folder, "override.yaml");
    [port, admin] = [await freePort(), await freePort()];
  });

  after(async () => {
    await compose("down", "--volumes", "--rmi", "local", "--timeout", "5");
    await rm(path.dirname(override), { recursive: true });
  });

  test("forwards clients of the example, whose server sleeps later, and wakes it again", async () => {
    const labels = 'labels: { wakeport-test: "e2e" }';
    const ports = `ports: !override ["127.0.0.1:${port}:8080", "127.0.0.1:${admin}:9464"]`;
    await writeFile(override, `services:\n  wakeport: { ${ports}, ${labels} }\n  web: { ${labels} }\n`);
    await compose("up", "--build", "--detach");
    await ready();
    // compose started the server too: wakeport adopts it.
    const curl = (): Promise<string> => run("curl", ["-s", "--max-time", "30", `http://127.0.0.1:${port}`]);
    await eventually("an open route", async () => (await route()).open);
    assert.equal(await curl(), "awake\n");
    const metrics = async (): Promise<string> => run("curl", ["-s", `http://127.0.0.1:${admin}/metrics`]);
    const forwarded = /^wakeport_connections_total\{service="web",outcome="forwarded"\} [1-9]/m;
    await eventually("a forwarded connection", async () => forwarded.test(await metrics()));
    await eventually("the server sleeps", async () => (await state()) === "exited", SLEEP_MS);
    assert.equal(await curl(), "awake\n");
    await compose("down", "--timeout", "5");
  });

  test(`keeps ${CLIENTS} forwarded connections when wakeport is killed and started again`, async () => {
    const labels = 'labels: { wakeport-test: "e2e" }';
    // With the default of `relay`.
    const folder = path.join(path.dirname(override), "config");
    await mkdir(folder);
    await writeFile(
      path.join(folder, "wakeport.yaml"),
      "services: { web: { ports: [8080], container: { service: web }, idle_timeout: 10s } }",
    );
    await writeFile(
      override,
      `services:
  holder:
    image: debian:bookworm-slim
    command: [sleep, infinity]
    init: true
    ports: ["127.0.0.1:${port}:8080", "127.0.0.1:${admin}:9464"]
    sysctls: ${JSON.stringify(sysctls)}
    ${labels}
  wakeport: { volumes: ["${folder}:/etc/wakeport:ro"], ports: !reset [], sysctls: !reset {}, network_mode: "service:holder", restart: "no", ${labels} }
  web: { command: ${JSON.stringify(["node", "-e", echo])}, ${labels} }
`,
    );
    await compose("up", "--build", "--detach");
    await ready();
    // From the engine's network, so that no proxy of the engine owns the connections.
    const [address = ""] = (
      await run("docker", [
        "inspect",
        "-f",
        "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}",
        container("holder"),
      ])
    ).split(" ");
    await eventually("an open route", async () => (await route()).open);
    const clients = await Promise.all(Array.from({ length: CLIENTS }, () => connect(address)));
    await eventually("all flows", async () => (await route()).flows === CLIENTS);
    await run("docker", ["kill", "--signal", "KILL", container("wakeport")]);
    // The kernel continues to forward without wakeport, open connections and new ones.
    await Promise.all(clients.map(exchange));
    const meanwhile = await connect(address);
    await run("docker", ["start", container("wakeport")]);
    await ready();
    await eventually("adopted flows", async () => (await route()).flows === CLIENTS + 1);
    await Promise.all([...clients, meanwhile].map(exchange));
    assert.equal(await state(), "running");
    for (const client of [meanwhile, ...clients]) client.destroy();
    await eventually("the server sleeps", async () => (await state()) === "exited", SLEEP_MS);
  });
});

async function connect(host: string): Promise<net.Socket> {
  const socket = net.connect({ host, port: 8080 });
  socket.on("error", () => {});
  await once(socket, "connect", { signal: AbortSignal.timeout(COMMAND_MS) });
  await exchange(socket);
  return socket;
}

async function exchange(socket: net.Socket): Promise<void> {
  const received = once(socket, "data", { signal: AbortSignal.timeout(COMMAND_MS) });
  socket.write("line\n");
  assert.equal(String((await received)[0]), "line\n");
}
