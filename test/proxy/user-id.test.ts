/** `log: { user_id: true }`: who is asked, when, and what a client notices of it. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { parseConfig } from "../../src/config/parse.ts";
import { Daemon } from "../../src/daemon/daemon.ts";
import type { UserIdReport } from "../../src/proxy/reports.ts";
import { observer } from "../../src/telemetry/observer.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { connecting, type Peer, PeerServer } from "../support/net/tcp.ts";

/** A wakeport whose clients come from a machine with an ident server that the test answers for. */
class Asking implements AsyncDisposable {
  readonly told: string[] = [];
  readonly echo: number;
  readonly full: number;
  readonly ident: PeerServer;
  readonly #sidecar: Daemon;

  private constructor(ident: PeerServer, ports: { readonly echo: number; readonly full: number }, nobody: number) {
    this.ident = ident;
    this.echo = ports.echo;
    this.full = ports.full;
    const text = `log: { user_id: true }
services:
  echo: { ports: ["127.0.0.1:${ports.echo}"], builtin: echo }
  full:
    ports: ["127.0.0.1:${ports.full}:${nobody}"]
    process: { command: [sleep, "60"] }
    limits: { waiting: 1 }
shutdown: { drain: 0s }`;
    const context = { env: {}, adminListen: { host: "127.0.0.1", port: 0 } };
    this.#sidecar = new Daemon({
      config: parseConfig(Buffer.from(text), "w.yaml", context),
      build: { version: "test", revision: "test", nodeVersion: process.version },
      env: {},
      uid: 0,
      gid: 0,
      umask: 0o022,
      openFiles: 20_000,
      ownFiles: 32,
      inheritedFds: [],
      identPort: ident.port,
      observer: observer({
        connectionOpened: ({ service }) => this.told.push(`${service} opened`),
        connection: ({ service, outcome }) => this.told.push(`${service} ${outcome}`),
        userId: (report) => this.told.push(`${report.service} ${said(report)}`),
      }),
    });
  }

  static async open(): Promise<Asking> {
    const ident = await PeerServer.open();
    const asking = new Asking(ident, { echo: await freePort(), full: await freePort() }, await freePort());
    await asking.#sidecar.open();
    return asking;
  }

  /** The next question, once it is asked. */
  async question(): Promise<{ readonly ports: string; readonly peer: Peer }> {
    const peer = await this.ident.accepted();
    await eventually("a question", () => peer.text.endsWith("\r\n"));
    return { ports: peer.text.trim(), peer };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sidecar.close();
    await this.ident[Symbol.asyncDispose]();
  }
}

function said({ answer, trouble }: UserIdReport): string {
  return answer ?? `told nothing: ${trouble}`;
}

suite("log.user_id", () => {
  test("a client is served before anybody knows who it is", async () => {
    await using asking = await Asking.open();
    using client = connecting(asking.echo);
    client.send("words");
    await client.receives("words".length);
    const { ports, peer } = await asking.question();
    assert.equal(ports, `${client.socket.localPort},${asking.echo}`);
    peer.end(`${ports} : USERID : UNIX : alice\r\n`);
    await eventually("it is told", () => asking.told.length === 2);
    assert.deepEqual(asking.told, ["echo opened", "echo UNIX : alice"]);
  });

  test("a client that is refused is kept until its machine has told, which knows it only so long", async () => {
    await using asking = await Asking.open();
    using _first = connecting(asking.full);
    await asking.question();
    using client = connecting(asking.full);
    const { ports, peer } = await asking.question();
    await eventually("the refusal is told", () => asking.told.includes("full denied_limit"));
    assert.equal(client.fate, "open");
    peer.end(`${ports} : USERID : UNIX : mallory\r\n`);
    assert.equal(await client.ended(), "ECONNRESET");
    assert.deepEqual(asking.told, ["full denied_limit", "full UNIX : mallory"]);
  });

  test("an end of wakeport waits for no answer", async () => {
    await using asking = await Asking.open();
    using _first = connecting(asking.full);
    await asking.question();
    using client = connecting(asking.full);
    await asking.question();
    await eventually("the refusal is told", () => asking.told.includes("full denied_limit"));
    await asking[Symbol.asyncDispose]();
    assert.notEqual(client.fate, "open");
  });
});
