/** Ranges of ports, from the file to the listeners. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { listenerName } from "../../../src/admin/api.ts";
import type { Service } from "../../../src/config/config.ts";
import { parseConfig } from "../../../src/config/parse.ts";
import { clashingPort, eachPort, MAX_PORTS, type PortMapping, parsePort } from "../../../src/config/values/ports.ts";
import { tcpListenersOf, udpListenersOf } from "../../../src/daemon/service-listeners.ts";
import { randomRuns } from "../../support/activation/random.ts";

function service(yaml: string): Service {
  const context = { env: {}, adminListen: { host: "127.0.0.1", port: 9464 } };
  return parseConfig(Buffer.from(`services: { ftp: { ${yaml} } }`), "w.yaml", context).services[0]!;
}

suite("a range of ports", () => {
  const read: Readonly<Record<string, PortMapping>> = {
    "30000-30009": { listen: 30_000, count: 10 },
    "30000-30009:40000-40009": { listen: 30_000, target: 40_000, count: 10 },
    "127.0.0.1:30000-30001": { address: "127.0.0.1", listen: 30_000, count: 2 },
    "[::1]:30000-30001:1-2/udp": { address: "::1", listen: 30_000, target: 1, count: 2, protocol: "udp" },
    "30000-30000:21": { listen: 30_000, target: 21 },
    "64536-65535": { listen: 64_536, count: MAX_PORTS },
  };
  for (const [text, expected] of Object.entries(read)) {
    test(`is parsed from "${text}"`, () => assert.deepEqual(parsePort(text), expected));
  }

  test("is one entry of the configuration, with a listener for each port", () => {
    const ftp = service(`ports: ["2121:21", "30000-30002", "127.0.0.1:5000-5001:6000-6001/udp"], container: c`);
    assert.equal(ftp.ports.length, 3);
    assert.deepEqual(
      tcpListenersOf(ftp).map(({ listener: listenPort }) => listenPort),
      [{ port: 2121 }, { port: 30_000 }, { port: 30_001 }, { port: 30_002 }],
    );
    assert.deepEqual(
      udpListenersOf(ftp).map(({ listener: listenPort }) => listenPort),
      [5000, 5001].map((port) => ({ address: "127.0.0.1", port, protocol: "udp" })),
    );
    assert.deepEqual(ftp.ports.map(listenerName), ["*:2121", "*:30000-30002", "127.0.0.1:5000-5001/udp"]);
  });

  test("maps to the same target ports, even if the process has a port", () => {
    const ftp = service(
      `ports: ["127.0.0.1:2121", "127.0.0.1:30000-30001"], process: { command: [x], listen: "127.0.0.2:21" }`,
    );
    assert.deepEqual(
      ftp.ports.flatMap((port) => eachPort(port)).map(({ target }) => target),
      [21, 30_000, 30_001],
    );
  });

  test("conflicts with a range at the first common port", (t) => {
    const address = fc.constantFrom(undefined, "127.0.0.1", "127.0.0.2", "0.0.0.0", "::", "::1");
    const protocol = fc.constantFrom(undefined, "udp" as const);
    const entry = fc
      .record({ address, protocol, listenPort: fc.integer({ min: 1, max: 30 }), count: fc.integer({ min: 1, max: 8 }) })
      .map(({ address: host, protocol: kind, listenPort, count }) => ({
        listen: listenPort,
        target: listenPort + 100,
        ...(count > 1 && { count }),
        ...(host !== undefined && { address: host }),
        ...(kind !== undefined && { protocol: kind }),
      }));
    fc.assert(
      fc.property(entry, entry, (a, b) => {
        const pairs = eachPort(a).flatMap((one) => eachPort(b).map((other) => clashingPort(one, other)));
        assert.equal(
          clashingPort(a, b),
          pairs.find((port) => port !== undefined),
        );
        assert.equal(clashingPort(b, a), clashingPort(a, b));
      }),
      randomRuns(t, 2_000),
    );
  });

  test("is formatted in the syntax of the file", (t) => {
    const port = fc.integer({ min: 1, max: 60_000 });
    fc.assert(
      fc.property(port, port, fc.integer({ min: 2, max: MAX_PORTS }), (listenPort, target, count) => {
        const [last, end] = [listenPort + count - 1, target + count - 1];
        assert.deepEqual(parsePort(`${listenPort}-${last}:${target}-${end}`), { listen: listenPort, target, count });
        assert.throws(() => parsePort(`${listenPort}-${last}:${target}-${end - 1}`), { name: "UnitError" });
        assert.throws(() => parsePort(`${last}-${listenPort}`), { name: "UnitError" });
      }),
      randomRuns(t, 2_000),
    );
  });
});
