/** `log: { user_id: true }`: when ident servers are queried, and the effect on clients. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { parseConfig } from "../../src/config/parse.ts";
import { Daemon } from "../../src/daemon/daemon.ts";
import type { UserIdReport } from "../../src/proxy/reports.ts";
import { observer } from "../../src/telemetry/observer.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { connecting, type Peer, PeerServer } from "../support/net/tcp.ts";

/** A wakeport, and the ident server of its clients, whose answers the test sends. */
class Stage implements AsyncDisposable {
  readonly reports: string[] = [];
  readonly echo: number;
  readonly full: number;
  readonly ident: PeerServer;
  readonly #daemon: Daemon;

  private constructor(ident: PeerServer, ports: { readonly echo: number; readonly full: number }, closedPort: number) {
    this.ident = ident;
    this.echo = ports.echo;
    this.full = ports.full;
    const text = `log: { user_id: true }
services:
  echo: { ports: ["127.0.0.1:${ports.echo}"], builtin: echo }
  full:
    ports: ["127.0.0.1:${ports.full}:${closedPort}"]
    process: { command: [sleep, "60"] }
    limits: { waiting: 1 }
shutdown: { drain: 0s }`;
    const context = { env: {}, adminListen: { host: "127.0.0.1", port: 0 } };
    this.#daemon = new Daemon({
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
        connectionOpened: ({ service }) => this.reports.push(`${service} opened`),
        connection: ({ service, outcome }) => this.reports.push(`${service} ${outcome}`),
        userId: (report) => this.reports.push(`${report.service} ${resultOf(report)}`),
      }),
    });
  }

  static async open(): Promise<Stage> {
    const ident = await PeerServer.open();
    const stage = new Stage(ident, { echo: await freePort(), full: await freePort() }, await freePort());
    await stage.#daemon.open();
    return stage;
  }

  /** Waits for the next query. */
  async query(): Promise<{ readonly ports: string; readonly peer: Peer }> {
    const peer = await this.ident.accepted();
    await eventually("a query", () => peer.text.endsWith("\r\n"));
    return { ports: peer.text.trim(), peer };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon.close();
    await this.ident[Symbol.asyncDispose]();
  }
}

function resultOf({ answer, failure }: UserIdReport): string {
  return answer ?? `no answer: ${failure}`;
}

suite("log.user_id", () => {
  test("serves a client before its ident server answers", async () => {
    await using stage = await Stage.open();
    using client = connecting(stage.echo);
    client.send("words");
    await client.receives("words".length);
    const { ports, peer } = await stage.query();
    assert.equal(ports, `${client.socket.localPort},${stage.echo}`);
    peer.end(`${ports} : USERID : UNIX : alice\r\n`);
    await eventually("both are reported", () => stage.reports.length === 2);
    assert.deepEqual(stage.reports, ["echo opened", "echo UNIX : alice"]);
  });

  test("keeps a rejected client open until its ident server answers, because the server knows only open connections", async () => {
    await using stage = await Stage.open();
    using _first = connecting(stage.full);
    await stage.query();
    using client = connecting(stage.full);
    const { ports, peer } = await stage.query();
    await eventually("the rejection is reported", () => stage.reports.includes("full denied_limit"));
    assert.equal(client.fate, "open");
    peer.end(`${ports} : USERID : UNIX : mallory\r\n`);
    assert.equal(await client.ended(), "ECONNRESET");
    assert.deepEqual(stage.reports, ["full denied_limit", "full UNIX : mallory"]);
  });

  test("does not wait for an answer at shutdown", async () => {
    await using stage = await Stage.open();
    using _first = connecting(stage.full);
    await stage.query();
    using client = connecting(stage.full);
    await stage.query();
    await eventually("the rejection is reported", () => stage.reports.includes("full denied_limit"));
    await stage[Symbol.asyncDispose]();
    assert.notEqual(client.fate, "open");
  });
});
