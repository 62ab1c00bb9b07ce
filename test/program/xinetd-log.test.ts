/** Compares the log of bin/wakeport with the real xinetd's, for the same clients of the same services. */
import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { loadavg } from "node:os";
import process from "node:process";
import { suite, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { PeerServer } from "../support/net/tcp.ts";
import { Program } from "../support/program/program.ts";
import { withoutXinetd, Xinetd } from "../support/program/xinetd.ts";
import { temporaryFile } from "../support/temporary-file.ts";

const skip = withoutXinetd() || (process.getuid?.() !== 0 && "needs root, for the port of ident servers");

/** The address of the clients. No other test has an ident server there. */
const CLIENTS = "127.0.113.7";

/** One service in both configuration formats. */
interface Pair {
  readonly name: string;
  readonly xinetd: string;
  readonly wakeport: string;
}

const upstreamless = { type: "UNLISTED", user: "root" };

function builtin(name: string): Pair {
  const xinetd = attributes(name, { type: "INTERNAL UNLISTED" });
  return { name: `${name}-x`, xinetd, wakeport: `builtin: ${name}` };
}

function attributes(name: string, more: Readonly<Record<string, string>>): string {
  const all = { id: `${name}-x`, socket_type: "stream", protocol: "tcp", wait: "no", port: "@PORT@", ...more };
  const lines = Object.entries(all).map(([key, value]) => `  ${key.replace(/(?<! \+)$/, " ")}= ${value}`);
  return `service ${name}\n{\n${lines.join("\n")}\n}\n`;
}

function forward(port: number): Pair {
  const more = { ...upstreamless, redirect: `127.0.0.1 ${port}`, "log_on_success +": "TRAFFIC" };
  return { name: "redir-x", xinetd: attributes("redir", more), wakeport: `forward: "127.0.0.1:${port}"` };
}

/** Both programs, each with all services on its own ports. */
class Both implements AsyncDisposable {
  readonly #stack: AsyncDisposableStack;
  readonly #xinetd: Xinetd;
  readonly #program: Program;
  readonly #ports: ReadonlyMap<string, readonly number[]>;

  private constructor(
    stack: AsyncDisposableStack,
    [xinetd, program]: readonly [Xinetd, Program],
    ports: ReadonlyMap<string, readonly number[]>,
  ) {
    this.#stack = stack;
    this.#xinetd = xinetd;
    this.#program = program;
    this.#ports = ports;
  }

  static async start(pairs: readonly Pair[]): Promise<Both> {
    await using stack = new AsyncDisposableStack();
    const ports = new Map<string, readonly number[]>();
    for (const { name } of pairs) ports.set(name, [await freePort(), await freePort()]);
    const configuration = pairs.map(({ name, xinetd }) => xinetd.replace("@PORT@", String(ports.get(name)?.[0])));
    const xinetd = stack.use(await Xinetd.start(`${DEFAULTS}${configuration.join("")}`));
    const services = pairs.map(
      ({ name, wakeport }) => `  ${name}: { ports: ["127.0.0.1:${ports.get(name)?.[1]}"], ${wakeport} }`,
    );
    const admin = `admin: { listen: "127.0.0.1:${await freePort()}" }`;
    const log = "log: { format: xinetd, user_id: true }";
    const file = stack.use(await temporaryFile("w.yaml", [log, admin, "services:", ...services].join("\n")));
    const program = stack.use(new Program(["run", "-c", file.path]));
    await eventually("wakeport has started", () => program.stdout.includes("serves"));
    const owned = stack.move();
    return new Both(owned, [xinetd, program], ports);
  }

  /** Connects the same client to both programs, one after the other. */
  async each(name: string, act: (socket: net.Socket, port: number) => Promise<unknown>): Promise<void> {
    for (const port of this.#ports.get(name) ?? []) {
      const socket = net.connect({ port, host: "127.0.0.1", localAddress: CLIENTS, allowHalfOpen: true });
      socket.on("error", () => {});
      await once(socket, "connect");
      await act(socket, port);
      socket.destroy();
    }
  }

  /** The log lines of a service without pids and times, when both programs have logged `count` lines. */
  async logged(name: string, count: number): Promise<{ readonly xinetd: string[]; readonly wakeport: string[] }> {
    const lines = async (): Promise<readonly [string[], string[]]> => [
      linesOf(await this.#xinetd.read(), name),
      linesOf(this.#program.stdout, name),
    ];
    await eventually(`${count} lines of ${name}: ${this.#program.stdout}`, async () =>
      (await lines()).every((own) => own.length >= count),
    );
    const [xinetd, wakeport] = await lines();
    return { xinetd, wakeport };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

const DEFAULTS = `defaults
{
  bind = 127.0.0.1
  log_type = FILE @LOG@
  log_on_success = PID HOST USERID EXIT DURATION
  log_on_failure = HOST USERID ATTEMPT
}
`;

/**
 * Sorted, because ident replies arrive in any order. xinetd's chargen ends with SIGPIPE, or with status 0
 * if it notices the reset before.
 */
function linesOf(log: string, name: string): string[] {
  const form = new RegExp(`^\\d\\d/\\d{1,2}/\\d{1,2}@\\d\\d:\\d\\d:\\d\\d: ([A-Z]+: ${name} .*)$`, "gm");
  return [...log.matchAll(form)]
    .map(([, words = ""]) =>
      words
        .replace(/pid=\d+ duration=\d+/, "pid=N duration=N")
        .replace(/pid=\d+/, "pid=N")
        .replace("chargen-x signal=13", "chargen-x status=0"),
    )
    .toSorted();
}

/** An ident server with one user, at the clients' address. */
async function identServer(): Promise<PeerServer> {
  return await PeerServer.open({
    host: CLIENTS,
    port: 113,
    onPeer: (peer) =>
      peer.socket.once("data", (question) => peer.end(`${String(question).trim()} : USERID : UNIX : alice\r\n`)),
  });
}

/** Sends everything, then reads until the server closes. */
async function exchange(socket: net.Socket, words?: string): Promise<void> {
  if (words !== undefined) socket.end(words);
  socket.resume();
  await once(socket, "end");
}

/** Waits until the other side has closed or reset the connection. */
async function over(socket: net.Socket): Promise<void> {
  socket.on("error", () => {});
  socket.resume();
  if (!socket.closed) await Promise.race([once(socket, "end"), once(socket, "close")]).catch(() => {});
}

/** Connects until a client is rejected: xinetd's cps counts clients per second, and a busy machine connects slower. */
async function rejected(port: number): Promise<void> {
  await eventually("a client is rejected", async () => {
    const client = net.connect({ port, host: "127.0.0.1", localAddress: CLIENTS });
    client.write("x");
    const served = once(client, "data").then(
      () => true,
      () => false,
    );
    const isServed = await Promise.race([served, over(client).then(() => false)]);
    client.destroy();
    return !isServed;
  });
}

suite("the log compared with xinetd's", { skip }, () => {
  test("of builtins", async () => {
    await using _ident = await identServer();
    await using both = await Both.start(["echo", "discard", "daytime", "time", "chargen"].map(builtin));
    await both.each("echo-x", (socket) => exchange(socket, "words"));
    await both.each("discard-x", (socket) => exchange(socket, "words"));
    await both.each("daytime-x", (socket) => exchange(socket));
    await both.each("time-x", (socket) => exchange(socket));
    await both.each("chargen-x", (socket) => once(socket, "data"));
    for (const [name, count] of Object.entries({ echo: 3, discard: 3, daytime: 1, time: 1, chargen: 3 })) {
      const { xinetd, wakeport } = await both.logged(`${name}-x`, count);
      // For builtins without a process, xinetd makes no ident query.
      const own = count === 1 ? wakeport.filter((line) => !line.startsWith("USERID")) : wakeport;
      assert.deepEqual(own, xinetd);
    }
  });

  test("of forwarded connections", async () => {
    await using _ident = await identServer();
    await using upstream = await PeerServer.open({
      onPeer: (peer) => peer.socket.once("data", () => peer.end("an answer")),
    });
    await using both = await Both.start([forward(upstream.port)]);
    await both.each("redir-x", async (socket) => {
      socket.write("words");
      await exchange(socket);
    });
    const { xinetd, wakeport } = await both.logged("redir-x", 4);
    assert.deepEqual(wakeport, xinetd);
    assert.deepEqual(wakeport, [
      "EXIT: redir-x status=0 pid=N duration=N(sec)",
      `START: redir-x pid=N from=${CLIENTS}`,
      "TRAFFIC: redir-x in=5(bytes) out=9(bytes)",
      "USERID: redir-x UNIX : alice",
    ]);
  });

  test("of programs that get the connection", async () => {
    await using _ident = await identServer();
    const program = (name: string, command: readonly [string, ...string[]]): Pair => {
      const [server, ...args] = command;
      const more = { ...upstreamless, server, ...(args.length > 0 && { server_args: args.join(" ") }) };
      return { name: `${name}-x`, xinetd: attributes(name, more), wakeport: `inetd: ${JSON.stringify({ command })}` };
    };
    const failing: readonly [string, ...string[]] = ["/bin/ls", "/nowhere"];
    await using both = await Both.start([
      program("cat", ["/bin/cat"]),
      program("bad", failing),
      program("killed", ["/usr/bin/timeout", "-s", "KILL", "0.1", "/bin/sleep", "60"]),
    ]);
    await both.each("cat-x", (socket) => exchange(socket, "words"));
    await both.each("bad-x", (socket) => exchange(socket));
    for (const [name, how] of Object.entries({ cat: "status=0", bad: "status=2" })) {
      const { xinetd, wakeport } = await both.logged(`${name}-x`, 3);
      assert.deepEqual(wakeport, xinetd);
      assert.equal(wakeport[0], `EXIT: ${name}-x ${how} pid=N duration=N(sec)`);
    }
    await both.each("killed-x", (socket) => exchange(socket));
    const { xinetd, wakeport } = await both.logged("killed-x", 3);
    assert.deepEqual(wakeport, xinetd);
    assert.equal(wakeport[0], "EXIT: killed-x signal=9 pid=N duration=N(sec)");
  });

  test("of rejected clients", async () => {
    await using _ident = await identServer();
    const cat = { ...upstreamless, server: "/bin/cat" };
    const refused = (name: string, more: Readonly<Record<string, string>>, wakeport: string): Pair => ({
      name: `${name}-x`,
      xinetd: attributes(name, { ...cat, ...more }),
      wakeport: `inetd: { command: [/bin/cat] }, ${wakeport}`,
    });
    const hour = (new Date().getHours() + 2) % 23;
    const shut = `${hour}:00-${hour}:01`;
    await using both = await Both.start([
      refused("addr", { no_access: CLIENTS }, `access: { deny: ["${CLIENTS}"] }`),
      refused("shut", { access_times: shut }, `access: { times: ["${shut}"] }`),
      refused("busy", { max_load: "0.01" }, "limits: { max_load: 0.01 }"),
      refused("full", { instances: "1" }, "limits: { connections: 1 }"),
      refused("mine", { per_source: "1" }, "limits: { per_source: 1 }"),
      refused("fast", { cps: "1 1" }, "limits: { rate: 1/m }"),
    ]);
    // An idle machine accepts every client.
    const isBusy = (loadavg()[0] ?? 0) > 0.1;
    for (const name of ["addr-x", "shut-x", ...(isBusy ? ["busy-x"] : [])]) await both.each(name, over);
    for (const name of ["full-x", "mine-x", "fast-x"]) {
      await both.each(name, async (first, port) => {
        first.write("x");
        await once(first, "data");
        await rejected(port);
        first.end();
        await over(first);
      });
    }
    const words = {
      addr: "address",
      shut: "time",
      ...(isBusy && { busy: "load" }),
      full: "service_limit",
      mine: "per_source_limit",
    };
    for (const [name, why] of Object.entries({ ...words, fast: "connections per second" })) {
      const fail = `FAIL: ${name}-x ${why} from=${CLIENTS}`;
      const of = (lines: readonly string[]): string[] => lines.filter((line) => line.startsWith("FAIL"));
      const { xinetd, wakeport } = await both.logged(`${name}-x`, 2);
      assert.deepEqual([of(xinetd), of(wakeport)], [[fail], [fail]]);
      assert.ok(wakeport.includes(`USERID: ${name}-x UNIX : alice`));
    }
  });
});
