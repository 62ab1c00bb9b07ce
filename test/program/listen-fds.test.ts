/** bin/wakeport with inherited bound sockets, as systemd passes them. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import process from "node:process";
import { suite, test } from "node:test";
import { listenerFd } from "../../src/net/listening-socket.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { connect } from "../support/net/tcp.ts";
import { fixture } from "../support/targets/process-subject.ts";
import { temporaryFile } from "../support/temporary-file.ts";

const ACTIVATE = "/usr/bin/systemd-socket-activate";
const needsActivate = { skip: !existsSync(ACTIVATE) && `needs ${ACTIVATE}: run test/engine/tools` };
const needsRoot = { skip: process.getuid?.() !== 0 ? "needs root" : needsActivate.skip };

const PROGRAM = path.join(import.meta.dirname, "../../bin/wakeport");

/** Sends the variables of the protocol that it has, then echoes. */
const target = `require("net").createServer((s) => { s.on("error", () => {}); s.write(Object.keys(process.env).filter((name) => name.startsWith("LISTEN_")).join() + "\\n"); s.pipe(s); })
.listen(Number(process.argv[1]), "127.0.0.1")`;

/** A wakeport that its first connection starts. */
class Activated implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #exited: Promise<unknown>;
  output = "";

  constructor(sockets: readonly string[], ports: string, upstream: number, admin: number, as: readonly string[] = []) {
    this.#folder = mkdtempSync(path.join(tmpdir(), "wakeport-test-"));
    chmodSync(this.#folder, 0o755);
    const file = path.join(this.#folder, "wakeport.yaml");
    const command = JSON.stringify([process.execPath, "-e", target, String(upstream)]);
    writeFileSync(
      file,
      `admin: { listen: "127.0.0.1:${admin}" }
services: { echo: { ports: ${ports}, process: { command: ${command}, listen: "127.0.0.1:${upstream}" } } }\n`,
    );
    const listening = sockets.flatMap((socket) => ["-l", socket]);
    const args = [...listening, "-E", `PATH=${process.env["PATH"]}`, "-E", "HOME=/tmp", ...as];
    this.#child = spawn(ACTIVATE, [...args, PROGRAM, "run", "-c", file], { stdio: ["ignore", "pipe", "pipe"] });
    this.#exited = once(this.#child, "close");
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on("data", (chunk: Buffer) => {
        this.output += chunk.toString();
      });
    }
  }

  async listening(): Promise<void> {
    await eventually("systemd-socket-activate listens", () => this.output.includes("Listening on"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGTERM");
    const late = setTimeout(() => this.#child.kill("SIGKILL"), 5_000);
    await this.#exited;
    clearTimeout(late);
    rmSync(this.#folder, { recursive: true });
  }
}

/** Returns the greeting of the target and the echo of a word. */
async function served(port: number, host?: string): Promise<string> {
  const peer = await connect(port, host);
  peer.send("hello");
  await eventually("a reply", () => peer.text.includes("hello") || peer.fate !== "open");
  peer.end();
  return peer.text;
}

suite("wakeport under systemd-socket-activate", () => {
  test("serves the client that caused its start, and the next clients", needsActivate, async () => {
    const [listenPort, upstream, admin] = [await freePort(), await freePort(), await freePort()];
    const ports = `["127.0.0.1:${listenPort}"]`;
    await using activated = new Activated([`127.0.0.1:${listenPort}`], ports, upstream, admin);
    await activated.listening();
    // The target has no variable of the protocol.
    assert.equal(await served(listenPort), "\nhello");
    assert.equal(await served(listenPort), "\nhello");
    assert.doesNotMatch(activated.output, /listen_fds/);
  });

  test("uses a wildcard socket and an IPv6 socket for listeners without an address", needsActivate, async () => {
    const [listenPort, other, upstream, admin] = [
      await freePort(),
      await freePort(),
      await freePort(),
      await freePort(),
    ];
    const ports = `["${listenPort}", "[::1]:${other}"]`;
    await using activated = new Activated([`[::1]:${other}`, `${listenPort}`], ports, upstream, admin);
    await activated.listening();
    assert.equal(await served(listenPort), "\nhello");
    assert.equal(await served(other, "::1"), "\nhello");
    assert.doesNotMatch(activated.output, /listen_fds/);
  });

  test("closes a socket that no listen address matches, and logs its address", needsActivate, async () => {
    const [listenPort, stray, upstream, admin] = [
      await freePort(),
      await freePort(),
      await freePort(),
      await freePort(),
    ];
    const ports = `["127.0.0.1:${listenPort}"]`;
    const sockets = [`127.0.0.1:${stray}`, `127.0.0.1:${listenPort}`];
    await using activated = new Activated(sockets, ports, upstream, admin);
    await activated.listening();
    assert.equal(await served(listenPort), "\nhello");
    assert.match(activated.output, new RegExp(`listens on 127\\.0\\.0\\.1:${stray}, which no service has`));
    await assert.rejects(connect(stray), /ECONNREFUSED/);
  });

  test("serves a port below 1024 without being root", needsRoot, async () => {
    const [upstream, admin] = [await freePort(), await freePort()];
    const as = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"];
    const listenPort = 842;
    await using activated = new Activated(
      [`127.0.0.1:${listenPort}`],
      `["127.0.0.1:${listenPort}"]`,
      upstream,
      admin,
      as,
    );
    await activated.listening();
    assert.equal(await served(listenPort), "\nhello", activated.output);
  });
});

suite("wakeport run with a socket of each family for a listener that two services share", () => {
  test("uses one socket and closes the other, which would never be accepted from", async () => {
    const port = await freePort();
    const servers = [
      net.createServer().listen({ port, host: "0.0.0.0", exclusive: true }),
      net.createServer().listen({ port, host: "::", ipv6Only: true, exclusive: true }),
    ];
    await Promise.all(servers.map((server) => once(server, "listening")));
    const services = ["a", "b"].map((name) => `${name}: { ports: ["${port}"], host: ${name}.test, builtin: echo }`);
    await using file = await temporaryFile("wakeport.yaml", `services: { ${services.join(", ")} }\n`);
    const child = spawn("/bin/sh", ["-c", 'LISTEN_PID=$$ exec "$0" run -c "$1"', PROGRAM, file.path], {
      stdio: ["ignore", "pipe", "inherit", ...servers.map(listenerFd)],
      env: { ...process.env, LISTEN_FDS: "2", WAKEPORT_ADMIN_LISTEN: `127.0.0.1:${await freePort()}` },
    });
    for (const server of servers) server.close();
    let output = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
    try {
      await eventually("wakeport has started", () => output.includes('"started"'));
      using peer = await connect(port);
      const request = "GET / HTTP/1.1\r\nHost: b.test\r\n\r\n";
      peer.end(request);
      await eventually("a reply", () => peer.text === request);
      assert.match(output, new RegExp(`listens on \\[::\\]:${port}, which no service has`));
      await assert.rejects(connect(port, "::1"), /ECONNREFUSED/);
    } finally {
      child.kill("SIGTERM");
      await once(child, "close");
    }
  });
});

suite("wakeport run with an inherited socket that it passes to a program", () => {
  test("accepts on the socket again when the program has ended", async () => {
    const port = await freePort();
    const server = net.createServer().listen(port, "127.0.0.1");
    await once(server, "listening");
    await using end = await temporaryFile("end", "");
    const command = JSON.stringify([process.execPath, fixture("one-client.cjs"), end.path, "0", "0"]);
    const service = `a: { ports: ["127.0.0.1:${port}"], inetd: { command: ${command}, wait: true } }`;
    await using file = await temporaryFile("wakeport.yaml", `services: { ${service} }\n`);
    const script = 'LISTEN_PID=$$ exec "$0" run -c "$1"';
    const child = spawn("/bin/sh", ["-c", script, PROGRAM, file.path], {
      stdio: ["ignore", "pipe", "inherit", listenerFd(server)],
      env: { ...process.env, LISTEN_FDS: "1", WAKEPORT_ADMIN_LISTEN: `127.0.0.1:${await freePort()}` },
    });
    server.close();
    let output = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
    try {
      await eventually("wakeport has started", () => output.includes('"started"'));
      const answers = new Set<string>();
      for (let client = 0; client < 3; client += 1) {
        using peer = await connect(port);
        await peer.ended();
        answers.add(peer.text);
      }
      assert.equal(answers.size, 3, [...answers].join());
    } finally {
      child.kill("SIGTERM");
      await once(child, "close");
    }
  });
});
