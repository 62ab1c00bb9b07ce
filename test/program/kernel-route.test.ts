/** `wakeport run` with `relay: kernel` in a network namespace of its own, with targets in another one. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import dgram from "node:dgram";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import net from "node:net";
import { suite, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { eventually } from "../support/eventually.ts";
import { cannotForward, type Namespaces, namespaces } from "../support/net/namespaces.ts";
import { type LogLine, Program } from "../support/program/program.ts";
import { temporaryFile } from "../support/temporary-file.ts";

const PATIENCE_MS = 20_000;
const run = promisify(execFile);

/** Echoes over TCP and UDP, with IPv4 and IPv6. Half-closed connections stay open until a datagram arrives. */
const echo = `
const port = Number(process.argv[1]);
const halfClosed = new Set();
const server = require("net").createServer({ allowHalfOpen: true }, (socket) => {
  let keeps = false;
  socket.on("error", () => {});
  socket.on("data", (chunk) => {
    keeps = String(chunk) === "keep";
    socket.write(chunk);
  });
  socket.on("end", () => keeps ? halfClosed.add(socket) : socket.end());
});
server.listen({ port, host: "::", backlog: 4096 });
const udp = require("dgram").createSocket("udp6");
udp.on("message", (datagram, from) => {
  for (const socket of halfClosed) socket.end("kept");
  halfClosed.clear();
  udp.send(datagram, from.port, from.address);
});
udp.bind(port, "::");`;

interface Bench extends AsyncDisposable {
  readonly spaces: Namespaces;
  readonly program: Program;
  readonly file: string;
  /** Runs nft in wakeport's namespace. */
  nft(...args: string[]): Promise<string>;
  /** Sums the samples of a metric whose labels contain all these texts. */
  metric(name: string, ...labels: string[]): Promise<number>;
  /** The line of `wakeport status SERVICE` about the route. */
  status(service?: string): Promise<{ open: boolean; reason?: string; flows: number } | undefined>;
  /** Waits until new connections to a port are forwarded. */
  opened(port?: number): Promise<void>;
}

interface BenchOptions {
  /** Keys of the service `web`. */
  readonly keys?: string;
  /** Keys of both services. OTHER is the second address of the test process in their address family. */
  readonly access?: string;
  /** Settings of the sidecar's namespace. */
  readonly sysctls?: Readonly<Record<string, number>>;
  /** Called with the namespaces before wakeport starts. */
  readonly prepare?: (spaces: Namespaces) => Promise<unknown>;
  /** A capability that wakeport lacks. */
  readonly withoutCapability?: string;
}

/** `web` listens on 8080 (TCP) and 8053 (UDP), its target with IPv4; `six` on 8081, its target with IPv6. */
function configuration({ target, back, sources }: Namespaces, keys: string, access = ""): string {
  const accessOf = (family: "ipv4" | "ipv6"): string => access.replaceAll("OTHER", `"${sources[family][1]}"`);
  const command = (port: number): string =>
    JSON.stringify(["ip", "netns", "exec", target, process.execPath, "-e", echo, String(port)]);
  const common = "relay: kernel, idle_timeout: 300ms";
  return `admin: { listen: "0.0.0.0:9464" }
log: { level: debug }
services:
  web: { ports: ["8080:9090", "8053:9090/udp"], process: { command: ${command(9090)}, listen: "${back.ipv4}:9090" }, ${common}${keys}${accessOf("ipv4")} }
  six: { ports: ["8081:9091"], process: { command: ${command(9091)}, listen: "[${back.ipv6}]:9091" }, ${common}${accessOf("ipv6")} }
`;
}

async function start({
  keys = "",
  access = "",
  sysctls = {},
  prepare,
  withoutCapability,
}: BenchOptions = {}): Promise<Bench> {
  await using stack = new AsyncDisposableStack();
  const spaces = stack.use(await namespaces(sysctls));
  await prepare?.(spaces);
  const file = stack.use(await temporaryFile("wakeport.yaml", configuration(spaces, keys, access)));
  const program = stack.use(new Program(["run", "-c", file.path], {}, undefined, spaces.sidecar, withoutCapability));
  await program.logged("started");
  const get = async (path: string): Promise<Response> =>
    fetch(`http://${spaces.front.ipv4}:9464${path}`, { signal: AbortSignal.timeout(PATIENCE_MS) });
  const nft = (...args: string[]): Promise<string> => spaces.inside("nft", ...args);
  const owned = stack.move();
  return {
    spaces,
    program,
    file: file.path,
    nft,
    metric: async (name, ...labels) => {
      const lines = (await (await get("/metrics")).text()).split("\n").filter((line) => line.startsWith(`${name}{`));
      const samples = lines.filter((line) => labels.every((label) => line.includes(label)));
      return samples.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
    },
    status: async (service = "web") => {
      const { services } = (await (await get("/api/v1/services")).json()) as { services: Record<string, never>[] };
      return services.find(({ name }) => name === service)?.["kernel_route"];
    },
    opened: (port = 8080) =>
      eventually(`a rule for port ${port}`, async () => {
        return (await nft("list", "table", "inet", "wakeport")).includes(` . ${port} : `);
      }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function connect(host: string, port = 8080, localAddress?: string): Promise<net.Socket> {
  const socket = net.connect({ host, port, allowHalfOpen: true, ...(localAddress && { localAddress }) });
  socket.setNoDelay(true);
  await once(socket, "connect", { signal: AbortSignal.timeout(PATIENCE_MS) });
  await exchange(socket);
  return socket;
}

/** Sends a text and receives it. */
async function exchange(socket: net.Socket): Promise<void> {
  const text = `${Math.random()}`;
  socket.write(text);
  let received = "";
  while (received.length < text.length) {
    const [chunk] = await once(socket, "data", { signal: AbortSignal.timeout(PATIENCE_MS) });
    received += String(chunk);
  }
  assert.equal(received, text);
}

/** Closes a connection in both directions. */
async function end(socket: net.Socket): Promise<void> {
  socket.resume().end();
  await once(socket, "close", { signal: AbortSignal.timeout(PATIENCE_MS) });
}

/** Waits until a count grows. */
async function next(count: () => number): Promise<void> {
  const before = count();
  await eventually("one more", () => count() > before);
}

function forwarded(bench: Bench, service = "web"): Promise<number> {
  return bench.metric("wakeport_connections_total", `service="${service}"`, 'outcome="forwarded"');
}

/** A client of the UDP port with one source port. */
class Datagrams implements Disposable {
  readonly #socket = dgram.createSocket("udp4");

  static async open(host: string): Promise<Datagrams> {
    const client = new Datagrams();
    client.#socket.connect(8053, host);
    await once(client.#socket, "connect");
    return client;
  }

  /** Sends a text and receives it. */
  async exchange(text: string): Promise<void> {
    const received = once(this.#socket, "message", { signal: AbortSignal.timeout(PATIENCE_MS) });
    this.#socket.send(text);
    assert.equal(String((await received)[0]), text);
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}

const obstacles: readonly {
  readonly what: string;
  readonly keys?: string;
  readonly prepare?: BenchOptions["prepare"];
  readonly withoutCapability?: string;
  readonly reason: RegExp;
}[] = [
  { what: "access times", keys: ', access: { times: ["00:00-24:00"] }', reason: /"access.times"/ },
  { what: "limits", keys: ", limits: { connections: 100 }", reason: /"limits"/ },
  {
    what: "no forwarding",
    prepare: ({ inside }) => inside("sysctl", "-qw", "net.ipv4.ip_forward=0"),
    reason: /forwarding is off/,
  },
  { what: "no capability NET_ADMIN", withoutCapability: "net_admin", reason: /no NET_ADMIN.*cap_add/ },
  {
    what: "a table of another program with the same name",
    prepare: ({ inside }) => inside("nft", "add table inet wakeport; add chain inet wakeport theirs"),
    reason: /belongs to another program/,
  },
];

suite("relay: kernel", { skip: cannotForward() }, () => {
  test("relays the client that woke the target, and forwards the next ones with IPv4 and IPv6", async () => {
    await using bench = await start();
    const { ipv4, ipv6 } = bench.spaces.front;
    for (const [service, host, port] of [
      ["web", ipv4, 8080],
      ["six", ipv6, 8081],
    ] as const) {
      const first = await connect(host, port);
      await bench.opened(port);
      await bench.program.logged("route.timeouts");
      const second = await connect(host, port);
      await eventually("1 forwarded connection", async () => (await forwarded(bench, service)) === 1);
      await eventually("1 flow", async () => (await bench.status(service))?.flows === 1);
      await Promise.all([end(first), end(second)]);
    }
    // IPv4 clients of a target with IPv6 are relayed.
    await end(await connect(ipv4, 8081));
    await bench.program.logged("target.asleep", 2);
    const [up, down] = await Promise.all(
      ["in", "out"].map((way) => bench.metric("wakeport_transferred_bytes_total", `direction="${way}"`)),
    );
    assert.ok(up !== undefined && up > 200 && down !== undefined && down > 200, `${up} and ${down} bytes`);
    assert.equal(bench.program.log.filter(({ event }) => event === "connection.closed").length, 3);
  });

  test("holds the target for silent and half-closed connections, and cuts none", async () => {
    await using bench = await start();
    const { ipv4 } = bench.spaces.front;
    await end(await connect(ipv4));
    await bench.opened();
    const silent = await connect(ipv4);
    const halfClosed = await connect(ipv4);
    let received = "";
    halfClosed.on("data", (chunk) => {
      received += chunk;
    });
    halfClosed.end("keep");
    await eventually("2 flows", async () => (await bench.status())?.flows === 2);
    // Ten idle timeouts.
    await delay(3_000);
    assert.equal(
      bench.program.log.some(({ event }) => event === "target.asleep"),
      false,
    );
    await exchange(silent);
    using client = await Datagrams.open(ipv4);
    await client.exchange("release");
    await once(halfClosed, "close", { signal: AbortSignal.timeout(PATIENCE_MS) });
    assert.equal(received, "keepkept");
    await end(silent);
    await bench.program.logged("target.asleep");
  });

  test("serves 2,000 connections at random moments around sleeps, and loses none", async () => {
    await using bench = await start();
    const { front } = bench.spaces;
    const lost: unknown[] = [];
    const asleep = (): number => bench.program.log.filter(({ event }) => event === "target.asleep").length;
    const stopping = (): number =>
      bench.program.log.filter(({ event, to }) => event === "target.state" && to === "stopping").length;
    /** Rounds begin at a random moment, while the rules are being removed, and when the target is down. */
    const moments = [() => delay(300 + Math.random() * 700), () => next(stopping), () => next(asleep)];
    for (let round = 0; round < 27; round += 1) {
      await moments[round % moments.length]?.();
      const clients = Array.from({ length: 75 }, async () => {
        await delay(Math.random() * 400);
        await connect(front.ipv4).then(end);
      });
      for (const result of await Promise.allSettled(clients))
        if (result.status === "rejected") lost.push(result.reason);
    }
    assert.deepEqual(lost, []);
    const count = await forwarded(bench);
    assert.ok(asleep() >= 10 && count >= 50, `${asleep()} sleeps and ${count} forwarded connections prove nothing`);
  });

  test("forwards datagrams of new clients, and returns their flows to wakeport before a sleep", async () => {
    await using bench = await start({ keys: ", udp: { flow_timeout: 500ms }" });
    using first = await Datagrams.open(bench.spaces.front.ipv4);
    await first.exchange("wakes");
    await bench.opened(8053);
    using second = await Datagrams.open(bench.spaces.front.ipv4);
    for (let index = 0; index < 20; index += 1) await second.exchange(`forwarded ${index}`);
    await eventually("1 forwarded flow", async () => (await forwarded(bench)) === 1);
    await bench.program.logged("target.asleep");
    // The same client wakes the target again.
    await second.exchange("again");
    await bench.program.logged("target.ready", 2);
  });

  test("deletes the rules and flows of a target that died, so that a waiting client reaches wakeport", async () => {
    await using bench = await start();
    const { ipv4 } = bench.spaces.front;
    await end(await connect(ipv4));
    await bench.opened();
    const open = await connect(ipv4);
    open.on("error", () => {});
    // The SYN of the next client is lost with the network of the target.
    const target = ["-n", bench.spaces.target, "link", "set", "eth0"];
    await run("ip", [...target, "down"]);
    const waiting = connect(ipv4);
    const pids = (await run("ip", ["netns", "pids", bench.spaces.target])).stdout.split("\n").filter(Boolean);
    for (const pid of pids) process.kill(Number(pid), "SIGKILL");
    await bench.program.logged("target.asleep");
    await run("ip", [...target, "up"]);
    await end(await waiting);
    await bench.program.logged("target.ready", 2);
    open.destroy();
  });

  test("hides refusals of a target whose program restarts", async () => {
    await using bench = await start();
    const { ipv4 } = bench.spaces.front;
    await end(await connect(ipv4));
    await bench.opened();
    const held = await connect(ipv4);
    const target = (...command: string[]) =>
      run("ip", ["netns", "exec", bench.spaces.target, "nft", command.join(" ")]);
    await target("add table inet closed; add chain inet closed in { type filter hook input priority 0; }");
    await target("add rule inet closed in tcp flags syn counter reject with tcp reset");
    const waiting = connect(ipv4);
    await eventually("a refusal", async () => !/packets 0/.test((await target("list chain inet closed in")).stdout));
    await target("delete table inet closed");
    await end(await waiting);
    await end(held);
    assert.equal(bench.program.log.filter(({ event }) => event === "target.ready").length, 1);
  });

  test("leaves other tables alone, and installs its rules again after they were flushed", async () => {
    const prepare = ({ inside }: Namespaces): Promise<string> =>
      inside("nft", "add table inet other; add chain inet other kept");
    await using bench = await start({ prepare });
    const { ipv4 } = bench.spaces.front;
    const first = await connect(ipv4);
    await bench.opened();
    await bench.nft("flush", "map", "inet", "wakeport", "marks4");
    await end(first);
    // The target sleeps, although the rules cannot be removed one by one.
    await bench.program.logged("target.asleep");
    await end(await connect(ipv4));
    await bench.opened();
    assert.match(await bench.nft("list", "ruleset"), /table inet other \{\s*chain kept/);
  });

  for (const [family, service, port] of [
    ["ipv4", "web", 8080],
    ["ipv6", "six", 8081],
  ] as const) {
    test(`forwards allowed sources, and leaves denied ones to wakeport, with ${family}`, async () => {
      await using bench = await start({
        access: ', access: { allow: [10.0.0.0/8, "fd00::/8", OTHER], deny: [OTHER] }',
      });
      const host = bench.spaces.front[family];
      const [allowed, denied] = bench.spaces.sources[family];
      const first = await connect(host, port, allowed);
      await bench.opened(port);
      const second = await connect(host, port, allowed);
      for (let count = 0; count < 3; count += 1) await assert.rejects(connect(host, port, denied));
      await eventually("1 forwarded connection", async () => (await forwarded(bench, service)) === 1);
      const isDenial = ({ event, msg }: LogLine): boolean =>
        event === "connection.closed" && /may not use this service/.test(String(msg));
      await eventually("3 denials in the log", () => bench.program.log.filter(isDenial).length === 3);

      await writeFile(bench.file, configuration(bench.spaces, "", ", access: { allow: [OTHER] }"));
      bench.program.child.kill("SIGHUP");
      await bench.program.logged("config.reloaded");
      const isChanged = async (): Promise<boolean> =>
        (await bench.nft("list", "table", "inet", "wakeport")).includes(`${port} . ${denied} : 0x`);
      await eventually("the new rules", isChanged);
      await assert.rejects(connect(host, port, allowed));
      const third = await connect(host, port, denied);
      await exchange(second);
      await eventually("2 forwarded connections", async () => (await forwarded(bench, service)) === 2);
      await Promise.all([first, second, third].map(end));
      await bench.program.logged("target.asleep");
    });
  }

  for (const { what, prepare, keys, withoutCapability, reason } of obstacles) {
    test(`relays and names the reason: ${what}`, async () => {
      await using bench = await start({
        ...(prepare && { prepare }),
        ...(keys && { keys }),
        ...(withoutCapability && { withoutCapability }),
      });
      const first = await connect(bench.spaces.front.ipv4);
      const second = await connect(bench.spaces.front.ipv4);
      const { msg } = await bench.program.logged("route.kernel");
      assert.match(String(msg), reason);
      assert.match((await bench.status())?.reason ?? "", reason);
      await Promise.all([end(first), end(second)]);
      await bench.program.logged("target.asleep");
      assert.equal(await forwarded(bench), 0);
    });
  }

  test("drains forwarded connections at a shutdown, and leaves the table without rules", async () => {
    await using bench = await start();
    await end(await connect(bench.spaces.front.ipv4));
    await bench.opened();
    const open = await connect(bench.spaces.front.ipv4);
    bench.program.child.kill("SIGTERM");
    await eventually(
      "no rule",
      async () => !/ : 0x/.test(await bench.nft("list", "map", "inet", "wakeport", "marks4")),
    );
    await exchange(open);
    await end(open);
    const { code } = await bench.program.finished();
    assert.equal(code, 0);
  });

  test("stops forwarding after a reload that removes the key", async () => {
    await using bench = await start();
    await end(await connect(bench.spaces.front.ipv4));
    await bench.opened();
    const open = await connect(bench.spaces.front.ipv4);
    await writeFile(bench.file, configuration(bench.spaces, "").replaceAll("relay: kernel, ", ""));
    bench.program.child.kill("SIGHUP");
    await bench.program.logged("config.reloaded");
    await eventually("no rule", async () => !/8080/.test(await bench.nft("list", "map", "inet", "wakeport", "marks4")));
    const count = await forwarded(bench);
    await end(await connect(bench.spaces.front.ipv4));
    await exchange(open);
    assert.equal(await forwarded(bench), count);
    await end(open);
    await bench.program.logged("target.asleep");
  });
});
