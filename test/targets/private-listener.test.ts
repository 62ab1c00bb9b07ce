/** A process that receives its listener as from systemd (LISTEN_FDS). */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { suite, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { Upstream } from "../../src/activation/target.ts";
import { freePort } from "../support/free-port.ts";
import { checkLeaks } from "../support/leaks.ts";
import { connect, connecting, type Peer, PeerServer } from "../support/net/tcp.ts";
import { fixture, ProcessSubject, unlimited } from "../support/targets/process-subject.ts";

checkLeaks();

const PROXYD = "/lib/systemd/systemd-socket-proxyd";
const LIGHTTPD = "/usr/sbin/lighttpd";
const missing = (file: string) => ({ skip: !existsSync(file) && `needs ${file}: run test/engine/tools` });

const env = { PATH: "/usr/bin:/bin" };
const anywhere = { listen: { host: "127.0.0.1" }, listenerName: "web", env };

/** Starts the process and returns its port. */
async function started(subject: ProcessSubject): Promise<Required<Pick<Upstream, "port">>> {
  await subject.target.start(unlimited);
  const status = await subject.target.inspect();
  assert.ok(status.up);
  assert.equal(status.address, "127.0.0.1");
  assert.ok(status.port);
  return { port: status.port };
}

/** Sends a text to an echo server and returns the answer. */
async function echoed(peer: Peer, text: string): Promise<string> {
  peer.send(text);
  await peer.receives(text.length);
  peer.end();
  return peer.text;
}

/** Runs test/fixtures/one-client.cjs behind a listener. `end` makes it exit. */
async function oneClientServer(code: number): Promise<AsyncDisposable & { subject: ProcessSubject; end: () => void }> {
  const folder = mkdtempSync(path.join(tmpdir(), "wakeport-test-"));
  const file = path.join(folder, "end");
  const subject = await ProcessSubject.of([process.execPath, fixture("one-client.cjs"), file, String(code)], anywhere);
  return {
    subject,
    end: () => writeFileSync(file, ""),
    [Symbol.asyncDispose]: async () => {
      await subject[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true });
    },
  };
}

async function incarnationOf({ target }: ProcessSubject): Promise<string | undefined> {
  const status = await target.inspect();
  return status.up ? status.incarnation : undefined;
}

/** The incarnations that inspections show until the target is down. */
async function incarnationsUntilDown(subject: ProcessSubject): Promise<ReadonlySet<string>> {
  const seen = new Set<string>();
  for (;;) {
    const incarnation = await incarnationOf(subject);
    if (incarnation === undefined) return seen;
    seen.add(incarnation);
    await delay(1);
  }
}

suite("clients in the backlog when a process exits", () => {
  test("are served by its successors in the same incarnation", async () => {
    await using server = await oneClientServer(0);
    const { subject, end } = server;
    const { port } = await started(subject);
    const incarnation = await incarnationOf(subject);
    const incarnations = incarnationsUntilDown(subject);
    const first = await connect(port);
    await first.ended();
    const answers = [first.text];
    const others = await Promise.all([connect(port), connect(port)]);
    for (const peer of others) peer.end("hello");
    end();
    for (const peer of others) {
      assert.equal(await peer.ended(), "ended");
      answers.push(peer.text);
    }
    first.end();
    assert.equal(new Set(answers).size, 3, `three processes served: ${answers}`);
    await subject.untilDown();
    assert.deepEqual([...(await incarnations)], [incarnation]);
    assert.deepEqual(await subject.target.inspect(), { up: false, exit: { code: 0 } });
    assert.equal(await connecting(port).ended(), "ECONNREFUSED");
  });

  test("are reset if it crashed", async () => {
    await using server = await oneClientServer(7);
    const { subject, end } = server;
    const { port } = await started(subject);
    const first = await connect(port);
    await first.receives(2);
    const second = await connect(port);
    end();
    assert.equal(await second.ended(), "ECONNRESET");
    first.end();
    await subject.untilDown();
    assert.deepEqual(await subject.target.inspect(), { up: false, exit: { code: 7 } });
  });

  test("are reset if its successor accepts none of them", async () => {
    const script = "echo start; sleep 0.1";
    await using subject = await ProcessSubject.of(["/bin/sh", "-c", script], anywhere);
    const { port } = await started(subject);
    const peer = await connect(port);
    assert.equal(await peer.ended(), "ECONNRESET");
    await subject.untilDown();
    assert.deepEqual(subject.lines, ["start", "start"]);
  });

  test("are reset at a stop", async () => {
    await using server = await oneClientServer(0);
    const { subject } = server;
    const { port } = await started(subject);
    const first = await connect(port);
    await first.receives(2);
    const second = await connect(port);
    await subject.target.sleep("stop", unlimited);
    assert.equal(await second.ended(), "ECONNRESET");
    first.end();
    assert.deepEqual(await subject.target.inspect(), { up: false });
  });
});

suite("a process with a passed listener", () => {
  test("gets it as descriptor 3 in blocking mode, with LISTEN_PID and LISTEN_FDNAMES, and an empty stdin", async () => {
    const script = `echo "$LISTEN_FDS $LISTEN_FDNAMES $((LISTEN_PID - $$))"
      grep flags /proc/$$/fdinfo/3; readlink /proc/$$/fd/0; exec sleep 3600`;
    await using subject = await ProcessSubject.of(["/bin/sh", "-c", script], anywhere);
    await started(subject);
    await subject.untilPrinted("/dev/null");
    assert.deepEqual(subject.lines, ["1 web 0", "flags:\t02", "/dev/null"]);
  });

  test("gets it also with another account and limits", async () => {
    const script = 'echo "$LISTEN_FDS $((LISTEN_PID - $$)) $(readlink /proc/$$/fd/3 | cut -c 1-6)"; exec sleep 3600';
    const account = { uid: 65_534, gid: 65_534, groups: [4] };
    const limits = { nofile: { soft: 50, hard: 50 } };
    await using subject = await ProcessSubject.of(["/bin/sh", "-c", script], { ...anywhere, account, limits });
    await started(subject);
    await subject.untilPrinted("1 0 socket");
  });

  test("serves all clients that connected before it was ready", missing(PROXYD), async () => {
    await using backend = await PeerServer.open({ onPeer: (peer) => peer.socket.pipe(peer.socket) });
    const command = [PROXYD, `127.0.0.1:${backend.port}`] as const;
    await using subject = await ProcessSubject.of(command, anywhere);
    const { port } = await started(subject);
    const peers = await Promise.all(Array.from({ length: 20 }, () => connect(port)));
    for (const [index, peer] of peers.entries()) assert.equal(await echoed(peer, `hello ${index}`), `hello ${index}`);
  });

  test("gets the configured port at each start", missing(PROXYD), async () => {
    await using backend = await PeerServer.open({ onPeer: (peer) => peer.socket.pipe(peer.socket) });
    const fixed = await freePort();
    const listen = { host: "127.0.0.1", port: fixed };
    const command = [PROXYD, `127.0.0.1:${backend.port}`] as const;
    await using subject = await ProcessSubject.of(command, { ...anywhere, listen });
    for (let incarnation = 0; incarnation < 3; incarnation += 1) {
      const { port } = await started(subject);
      assert.equal(port, fixed);
      assert.equal(await echoed(await connect(port), "hello"), "hello");
      await subject.target.sleep("stop", unlimited);
    }
  });

  test("can be lighttpd", missing(LIGHTTPD), async () => {
    const folder = mkdtempSync(path.join(tmpdir(), "wakeport-test-"));
    using _folder = { [Symbol.dispose]: () => rmSync(folder, { recursive: true }) };
    writeFileSync(path.join(folder, "index.txt"), "hello");
    // lighttpd uses a passed socket only if it has the configured address.
    const port = await freePort();
    const config = path.join(folder, "lighttpd.conf");
    writeFileSync(
      config,
      `server.document-root = "${folder}"\nserver.systemd-socket-activation = "enable"
server.bind = "127.0.0.1"\nserver.port = ${port}\n`,
    );
    const listen = { host: "127.0.0.1", port };
    await using subject = await ProcessSubject.of([LIGHTTPD, "-D", "-f", config], { ...anywhere, listen });
    await started(subject);
    const peer = await connect(port);
    peer.send("GET /index.txt HTTP/1.0\r\n\r\n");
    await peer.ended();
    peer.end();
    assert.match(peer.text, /200 OK[\s\S]*hello$/);
  });

  test("resets waiting clients when it exits during its start", async () => {
    await using subject = await ProcessSubject.of(["/bin/sh", "-c", "sleep 0.2; echo no; exit 7"], anywhere);
    const { port } = await started(subject);
    const peer = await connect(port);
    peer.send("hello");
    assert.equal(await peer.ended(), "ECONNRESET");
    await subject.untilDown();
    assert.deepEqual(await subject.target.inspect(), { up: false, exit: { code: 7 } });
    const late = connecting(port);
    assert.equal(await late.ended(), "ECONNREFUSED");
  });

  test("is not started if the port is taken", async () => {
    await using other = await PeerServer.open();
    const listen = { host: "127.0.0.1", port: other.port };
    await using subject = await ProcessSubject.of(["/bin/sleep", "3600"], { ...anywhere, listen });
    await assert.rejects(subject.target.start(unlimited), /another process already listens/);
    assert.deepEqual(await subject.target.inspect(), { up: false });
  });

  test("leaves no listener if it cannot be started", async () => {
    const port = await freePort();
    const listen = { host: "127.0.0.1", port };
    await using subject = await ProcessSubject.of(["/no/such"], { ...anywhere, listen });
    await assert.rejects(subject.target.start(unlimited), /no such command/);
    const peer = connecting(port);
    assert.equal(await peer.ended(), "ECONNREFUSED");
  });
});
