/** `wake_on: first_byte` of the real program, through reloads and shutdown. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { suite, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { connect } from "../support/net/tcp.ts";
import { Bench, echoService } from "../support/program/reloading.ts";

const firstByte = ", wake_on: first_byte";
const waiting = 'wakeport_connections_waiting{service="a"}';

suite("wake_on: first_byte", () => {
  test("a client that is silent through a reload is served by the new target", async () => {
    const [port, up] = [await freePort(), await freePort()];
    await using bench = await Bench.start(echoService("a", port, up, "old", firstByte));
    using client = await connect(port);
    await eventually("a client is waiting", async () => (await bench.metric(waiting)) === "1");
    await bench.reload(echoService("a", port, up, "new", firstByte));
    client.send("hello\n");
    await eventually("an echo", () => client.text.endsWith("hello\n"));
    assert.match(client.text, /^\d+ new\nhello\n$/);
  });

  test("a client that waits for the greeting is served when a reload removes wake_on", async () => {
    const [port, up] = [await freePort(), await freePort()];
    await using bench = await Bench.start(echoService("a", port, up, "one", firstByte));
    using client = await connect(port);
    await eventually("a client is waiting", async () => (await bench.metric(waiting)) === "1");
    await bench.reload(echoService("a", port, up, "one", ", protocol: smtp, ready: tcp"));
    await eventually("a greeting", () => client.text.endsWith(" one\n"));
  });

  test("a silent client is closed when its service is removed", async () => {
    const [port, other, up] = [await freePort(), await freePort(), await freePort()];
    await using bench = await Bench.start(echoService("a", port, up, "one", firstByte));
    using client = await connect(port);
    await eventually("a client is waiting", async () => (await bench.metric(waiting)) === "1");
    await bench.reload(echoService("b", other, up));
    assert.equal(await client.ended(), "ECONNRESET");
  });

  test("shutdown does not wait for silent clients", async () => {
    const [port, up] = [await freePort(), await freePort()];
    await using bench = await Bench.start(`${echoService("a", port, up, "one", firstByte)}shutdown: { drain: 1h }\n`);
    using client = await connect(port);
    await eventually("a client is waiting", async () => (await bench.metric(waiting)) === "1");
    bench.program.child.kill("SIGTERM");
    assert.equal(await client.ended(), "ECONNRESET");
    if (bench.program.child.exitCode === null) await once(bench.program.child, "exit");
    assert.equal(bench.program.child.exitCode, 0);
    assert.deepEqual(
      bench.program.log.filter(({ event }) => event === "target.starting"),
      [],
    );
  });
});
