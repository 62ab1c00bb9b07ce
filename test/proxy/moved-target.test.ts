/** Clients of a target whose address changes while they are being connected. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { TargetError } from "../../src/errors.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";
import { countDialling, deafPort, PeerServer } from "../support/net/tcp.ts";
import { TestListener } from "../support/proxy/listener.ts";

checkLeaks();

const NEW = "127.0.0.2";
/** Shorter than the timeout of a dial. */
const SOON_MS = 5_000;
const noRoute = new TargetError("no_route", "it has no address on any network");

/** A server that sends its name, and echoes. */
async function named(name: string, host: string, port = 0): Promise<PeerServer> {
  return PeerServer.open({ host, port, onPeer: (peer) => peer.send(name) });
}

/** Makes the target ready. */
async function ready(listenPort: TestListener): Promise<void> {
  listenPort.target.comeUp();
  await listenPort.becomes("ready");
}

suite("A client of a target whose address changes", () => {
  test("is connected to the new address during a dial to the old one", async () => {
    await using old = await deafPort();
    await using _server = await named("target", NEW, old.port);
    await using listenPort = await TestListener.open({ upstream: old.port });
    await ready(listenPort);
    using client = await listenPort.client();
    await eventually("the dial is under way", () => countDialling(old.port) > 0);
    listenPort.target.host = NEW;
    listenPort.target.moveTo(NEW);
    await eventually("the target answers", () => client.text === "target", SOON_MS);
  });

  test("is connected to the new address if it connects before the change is known", async () => {
    await using stranger = await named("stranger", "127.0.0.1");
    await using _server = await named("target", NEW, stranger.port);
    await using listenPort = await TestListener.open({ upstream: stranger.port });
    await ready(listenPort);
    const news = Promise.withResolvers<void>();
    listenPort.target.news = news.promise;
    listenPort.target.host = NEW;
    listenPort.target.moveTo(NEW);
    using client = await listenPort.client();
    // The duration of a dial on this machine.
    await eventually("the client has a lease", () => listenPort.activator.view.held === 1);
    await new Promise((resolve) => setTimeout(resolve, 100));
    news.resolve();
    await eventually("the target answers", () => client.text === "target", SOON_MS);
    assert.equal(stranger.peers.length, 0);
  });

  test("waits if the target has no address at the dial", async () => {
    await using stranger = await named("stranger", "127.0.0.1");
    await using _server = await named("target", NEW, stranger.port);
    await using listenPort = await TestListener.open({ upstream: stranger.port, pace: 1 });
    await ready(listenPort);
    const place = await listenPort.pace.acquire(new AbortController().signal);
    using client = await listenPort.client();
    await eventually("the client has a lease", () => listenPort.activator.view.held === 1);
    listenPort.target.moveTo("", noRoute);
    await listenPort.activator.waitForInspection(new AbortController().signal);
    place[Symbol.dispose]();
    listenPort.target.host = NEW;
    listenPort.target.moveTo(NEW);
    await eventually("the target answers", () => client.text === "target", SOON_MS);
    assert.equal(stranger.peers.length, 0);
  });
});
