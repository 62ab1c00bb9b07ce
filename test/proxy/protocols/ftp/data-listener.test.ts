/** The ports of listeners for data connections. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { suite, test } from "node:test";
import { DataListener, reserve } from "../../../../src/proxy/protocols/ftp/data-listener.ts";
import { checkLeaks } from "../../../support/leaks.ts";
import { connecting } from "../../../support/net/tcp.ts";

checkLeaks();

const [lowest = 32_768, highest = 60_999] = readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8")
  .trim()
  .split(/\s+/)
  .map(Number);
/** One of 20 ports of the ephemeral range is not reserved. */
const EVERY = 20;

suite("DataListener", () => {
  test("does not listen on a reserved port", async () => {
    using reservations = new DisposableStack();
    // In pairs, because the kernel may prefer ports of one parity.
    const isFree = (port: number): boolean => Math.floor(port / 2) % EVERY === 0;
    for (let port = lowest; port <= highest; port += 1) if (!isFree(port)) reservations.use(reserve(port));
    for (let count = 0; count < 5; count += 1) {
      using listener = new DataListener({
        address: "127.0.0.1",
        from: "127.0.0.1",
        onConnection: () => {},
        onUnused: () => {},
      });
      const port = await listener.open();
      assert.ok(isFree(port), `${port} is reserved`);
      using stranger = connecting(port, "127.0.0.1");
      listener[Symbol.dispose]();
      assert.match(await stranger.ended(), /ECONNREFUSED|ECONNRESET/);
    }
  });

  test("rejects open() if it is closed meanwhile", async () => {
    const listener = new DataListener({
      address: "127.0.0.1",
      from: "127.0.0.1",
      onConnection: () => {},
      onUnused: () => {},
    });
    const opened = listener.open();
    listener[Symbol.dispose]();
    await assert.rejects(opened, { name: "AbortError" });
  });
});
