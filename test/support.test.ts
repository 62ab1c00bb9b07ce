import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import { suite, test } from "node:test";
import { leftSince, takeCensus } from "./support/leaks.ts";

suite("leftSince()", () => {
  test("is empty if a test left nothing", async () => {
    const before = takeCensus();
    const server = net.createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    server.close();
    assert.equal(await leftSince(before), "");
  });

  test("waits for resources that are being closed", async () => {
    const before = takeCensus();
    setTimeout(() => {}, 200);
    assert.equal(await leftSince(before), "");
  });

  test("names a timer, a server, sockets and a child process that a test left", async () => {
    const before = takeCensus();
    const timer = setTimeout(() => {}, 3_600_000);
    const server = net.createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const client = net.connect((server.address() as net.AddressInfo).port, "127.0.0.1");
    const [peer] = (await once(server, "connection")) as [net.Socket];
    const child = spawn("sleep", ["3600"], { stdio: "ignore" });
    const left = (await leftSince(before)).split(", ").sort();
    clearTimeout(timer);
    client.destroy();
    peer.destroy();
    server.close();
    child.kill("SIGKILL");
    await once(child, "exit");
    assert.deepEqual(left, ["ProcessWrap ×1", "TCPServerWrap ×1", "TCPSocketWrap ×2", "Timeout ×1"]);
  });
});
