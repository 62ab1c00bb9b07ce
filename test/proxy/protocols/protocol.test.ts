/** What every protocol can rely on, between real sockets. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { TargetError } from "../../../src/errors.ts";
import type { HeldClient, Protocol, WaitingClient } from "../../../src/proxy/protocols/protocol.ts";
import { silence } from "../../../src/proxy/protocols/raw.ts";
import { eventually } from "../../support/eventually.ts";
import { checkLeaks } from "../../support/leaks.ts";
import { PeerServer } from "../../support/net/tcp.ts";
import { TestListener } from "../../support/proxy/listener.ts";

checkLeaks();

function protocolOf(heldClient: (waitingClient: WaitingClient) => Partial<HeldClient>): Protocol {
  return { hold: (waitingClient) => ({ ...silence, ...heldClient(waitingClient) }) };
}

suite("a protocol", () => {
  test("can greet a waiting client, and its rejection ends the connection without a reset", async () => {
    const events: string[] = [];
    const protocol = protocolOf(({ socket, progress }) => {
      socket.write(`220-${progress.service} is ${progress.state}\r\n`);
      return {
        rejectionReply: async (reason) => Buffer.from(`421 ${(reason as Error).name}\r\n`),
        [Symbol.dispose]: () => void events.push("disposed"),
      };
    });
    await using server = await PeerServer.open();
    await using listenPort = await TestListener.open({ upstream: server.port, protocol });
    using client = await listenPort.client();
    await eventually("the greeting is there", () => client.text === "220-web is asleep\r\n");
    // Unread bytes would turn the end into a reset.
    client.send("USER anonymous\r\n");
    await listenPort.starting();
    listenPort.target.failStart(new TargetError("missing", "there is no container fake"));
    assert.equal(await client.ended(), "ended");
    assert.match(client.text, /^220-web is asleep\r\n421 StartFailedError\r\n$/);
    assert.deepEqual(events, ["disposed"]);
    client.end();
    assert.equal((await listenPort.reported(1))[0]?.outcome, "start_failed");
  });

  test("can serve a client itself when the target is ready", async () => {
    const protocol = protocolOf(({ socket }) => ({
      ready: async () => {
        socket.end("come again\n");
        return { outcome: "served", end: "page" };
      },
    }));
    await using server = await PeerServer.open();
    await using listenPort = await TestListener.open({ upstream: server.port, protocol });
    using client = await listenPort.client();
    await listenPort.start();
    assert.equal(await client.ended(), "ended");
    assert.equal(client.text, "come again\n");
    const [report] = await listenPort.reported(1);
    assert.deepEqual([report?.outcome, report?.end], ["served", "page"]);
    assert.equal(listenPort.activator.view.held, 1, "for the client that reconnects");
    await eventually("no lease is left", () => listenPort.activator.view.held === 0);
  });
});
