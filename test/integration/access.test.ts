/** Access rules and limits of the whole program, with clients from several addresses of this machine. */
import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import { text } from "node:stream/consumers";
import { suite, test } from "node:test";
import type { StatusReport } from "../../src/admin/api.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { Peer } from "../support/net/tcp.ts";
import { Program, wakeport } from "../support/program/program.ts";
import { temporaryFile } from "../support/temporary-file.ts";

const ABUSER = "127.0.0.2";
const INNOCENT = "127.0.0.3";
const OWNER = "127.0.0.4";

/** Sends a greeting, then echoes. */
const echo = `require("net").createServer({ allowHalfOpen: true }, (s) => { s.on("error", () => {}); s.write("hello\\n"); s.pipe(s); })
.listen(Number(process.argv[1]), "127.0.0.1")`;

class Bench implements AsyncDisposable {
  readonly program: Program;
  readonly file: string;
  readonly #admin: number;
  readonly #ports: ReadonlyMap<string, number>;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    parts: { admin: number; ports: ReadonlyMap<string, number>; file: string; program: Program },
    stack: AsyncDisposableStack,
  ) {
    this.program = parts.program;
    this.file = parts.file;
    this.#admin = parts.admin;
    this.#ports = parts.ports;
    this.#stack = stack;
  }

  /** Services by name, with all keys except ports. PROCESS is a program that sends a greeting. */
  static async open(services: Readonly<Record<string, string>>): Promise<Bench> {
    await using stack = new AsyncDisposableStack();
    const [admin, upstream] = [await freePort(), await freePort()];
    const command = JSON.stringify([process.execPath, "-e", echo, String(upstream)]);
    const target = `process: { command: ${command}, listen: "127.0.0.1:${upstream}" }`;
    const ports = new Map<string, number>();
    let yaml = `admin: { listen: "127.0.0.1:${admin}" }\nservices:\n`;
    for (const [name, own] of Object.entries(services)) {
      const port = await freePort();
      ports.set(name, port);
      // A listener without an address accepts IPv4 clients on an IPv6 socket.
      yaml += `  ${name}: { ports: [${port}], ${own.replace("PROCESS", target)} }\n`;
    }
    const { path: file } = stack.use(await temporaryFile("wakeport.yaml", yaml));
    const program = stack.use(new Program(["run", "-c", file]));
    await program.logged("started");
    return new Bench({ admin, ports, file, program }, stack.move());
  }

  connect(service: string, from: string): Peer {
    const port = this.#ports.get(service) ?? 0;
    return new Peer(net.connect({ port, host: "127.0.0.1", localAddress: from, allowHalfOpen: true }));
  }

  /** Sends a word and waits for its echo. @returns the received text, or the end of the connection */
  async replyTo(service: string, from: string, word = "word"): Promise<string> {
    using peer = this.connect(service, from);
    peer.send(word);
    await eventually(`a reply of ${service}`, () => peer.text.endsWith(word) || peer.fate !== "open");
    return peer.text.endsWith(word) ? peer.text : peer.fate;
  }

  async metric(name: string): Promise<number> {
    const request = http.get({ port: this.#admin, path: "/metrics" });
    const [answer] = (await once(request, "response")) as [http.IncomingMessage];
    const line = (await text(answer)).split("\n").find((one) => one.startsWith(`${name} `));
    assert.ok(line !== undefined, `there is no ${name}`);
    return Number(line.slice(name.length));
  }

  denied(service: string, reason: string): Promise<number> {
    return this.metric(`wakeport_connections_denied_total{service="${service}",reason="${reason}"}`);
  }

  events(name: string): number {
    return this.program.log.filter(({ event }) => event === name).length;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

suite("access", () => {
  test("denied clients start nothing; allowed clients are served", async () => {
    await using bench = await Bench.open({
      ftp: `PROCESS, access: { allow: [127.0.0.0/8], deny: [${ABUSER}] }, banner: { deny: "421 no\\r\\n" }, on_deny: close`,
    });
    for (const reason of ["address", "banned", "time", "rate", "load", "service_limit", "process_limit"]) {
      assert.equal(await bench.denied("ftp", reason), 0);
    }
    using refused = bench.connect("ftp", ABUSER);
    refused.end("USER me\r\n");
    assert.equal(await refused.ended(), "ended");
    assert.equal(refused.text, "421 no\r\n");
    const line = await bench.program.logged("connection.closed");
    assert.deepEqual([line["outcome"], line["reason"]], ["denied_address", "address"]);
    assert.equal(bench.events("target.starting"), 0);
    assert.equal(await bench.denied("ftp", "address"), 1);
    assert.equal(await bench.metric('wakeport_connections_total{service="ftp",outcome="denied_address"}'), 1);
    assert.equal(await bench.replyTo("ftp", INNOCENT), "hello\nword");
  });

  test("an inetd program gets only accepted clients, after the banner was sent", async () => {
    await using bench = await Bench.open({
      cat: `inetd: { command: [/bin/cat] }, access: { deny: [${ABUSER}] }, limits: { connections: 1, on_limit: queue },
        banner: { connect: "220-", accept: "in\\r\\n", deny: "no\\r\\n" }, on_deny: close`,
    });
    using refused = bench.connect("cat", ABUSER);
    refused.send("early words");
    assert.equal(await refused.ended(), "ended");
    assert.equal(refused.text, "220-no\r\n");
    using first = bench.connect("cat", INNOCENT);
    first.send("one");
    await first.receives(11);
    assert.equal(first.text, "220-in\r\none");
    using second = bench.connect("cat", INNOCENT);
    second.send("two");
    await eventually(
      "one client is waiting",
      async () => (await bench.metric('wakeport_connections_waiting{service="cat"}')) === 1,
    );
    first.end();
    await second.receives(11);
    assert.equal(second.text, "220-in\r\ntwo");
    second.end();
    assert.equal(await second.ended(), "ended");
    assert.equal(await bench.denied("cat", "address"), 1);
  });

  test("an abusive client blocks no other client, and does not flood the log", async () => {
    await using bench = await Bench.open({ echo: "builtin: echo, limits: { rate: 20/m }" });
    const fates = await Promise.all(Array.from({ length: 300 }, () => bench.replyTo("echo", ABUSER)));
    assert.equal(fates.filter((fate) => fate === "word").length, 10);
    for (let count = 0; count < 5; count += 1) assert.equal(await bench.replyTo("echo", INNOCENT), "word");
    assert.equal(await bench.denied("echo", "rate"), 290);
    bench.program.child.kill("SIGTERM");
    await bench.program.finished();
    const lines = bench.program.log.filter(({ reason }) => reason === "rate");
    const reported = lines.filter(({ event }) => event === "connection.closed");
    const summed = lines.filter(({ event }) => event === "connection.denials");
    assert.ok(reported.length <= 10, `${reported.length} lines`);
    assert.equal(reported.length + summed.reduce((sum, line) => sum + Number(line["count"]), 0), 290);
  });

  test("a sensor bans addresses from all services, except addresses that it denies", async () => {
    await using bench = await Bench.open({
      trap: `sensor: { ban: 1h }, access: { deny: [${OWNER}] }, banner: { deny: "bye\\r\\n" }`,
      echo: "builtin: echo",
      ftp: "PROCESS",
    });
    assert.equal(await bench.replyTo("echo", ABUSER), "word");
    for (let count = 0; count < 3; count += 1) {
      using tripped = bench.connect("trap", ABUSER);
      await tripped.receives(5);
      assert.equal(tripped.text, "bye\r\n");
    }
    assert.equal(await bench.replyTo("echo", ABUSER), "ECONNRESET");
    assert.equal(await bench.replyTo("ftp", ABUSER), "ECONNRESET");
    assert.equal(bench.events("target.starting"), 0);
    using owner = bench.connect("trap", OWNER);
    await owner.ended();
    assert.equal(await bench.replyTo("echo", OWNER), "word");
    assert.equal(await bench.replyTo("ftp", INNOCENT), "hello\nword");

    assert.deepEqual([await bench.denied("echo", "banned"), await bench.denied("trap", "banned")], [1, 2]);
    assert.equal(bench.events("source.banned"), 1);
    const { stdout } = await wakeport(["status", "-c", bench.file, "--json"]);
    const { bans } = JSON.parse(stdout) as StatusReport;
    assert.equal(bans?.count, 1);
    assert.deepEqual([bans.latest[0]?.source, bans.latest[0]?.service], [ABUSER, "trap"]);
    const shown = await wakeport(["status", "-c", bench.file]);
    assert.match(shown.stdout, /127\.0\.0\.2: banned by trap for another (59m|1h)/);
  });

  test("queued clients are served one after the other, and status counts them", async () => {
    await using bench = await Bench.open({ echo: "builtin: echo, limits: { connections: 1, on_limit: queue }" });
    using first = bench.connect("echo", ABUSER);
    first.send("1");
    await first.receives(1);
    const waiting = [ABUSER, INNOCENT, OWNER].map((from) => bench.connect("echo", from));
    for (const peer of waiting) peer.send("2");
    await eventually(
      "three clients are waiting",
      async () => (await bench.metric('wakeport_connections_waiting{service="echo"}')) === 3,
    );
    first.end();
    for (const peer of waiting) {
      await peer.receives(1);
      peer.end();
    }
    await eventually(
      "all connections are closed",
      async () => (await bench.metric('wakeport_connections_active{service="echo"}')) === 0,
    );
    assert.equal(await bench.metric('wakeport_connections_total{service="echo",outcome="served"}'), 4);
  });
});
