/** Settings of services that share a target. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { isWoken } from "../../src/config/config.ts";
import { parseConfig } from "../../src/config/parse.ts";
import { probeOf } from "../../src/daemon/target-settings.ts";
import { FakeTarget } from "../support/activation/fake-target.ts";
import { freePort } from "../support/free-port.ts";

const context = { env: {}, adminListen: { host: "127.0.0.1", port: 9464 } };

suite("probeOf()", () => {
  test("names the services of a condition that not all services have", async () => {
    const [one, other] = [await freePort(), await freePort()];
    const pendingOf = async (services: string): Promise<readonly string[]> => {
      const parsed = parseConfig(Buffer.from(`services: { ${services} }`), "w.yaml", context);
      const end = new AbortController();
      const reported = Promise.withResolvers<readonly string[]>();
      const probe = probeOf(parsed.services.filter(isWoken), new FakeTarget());
      const probed = probe({ address: "127.0.0.1", isUntried: false }, end.signal, reported.resolve);
      const pending = await reported.promise;
      end.abort(new Error("enough"));
      await assert.rejects(probed);
      return pending;
    };
    const a = `a: { ports: '80:${one}', container: c }`;
    const b = (port: number): string => `b: { ports: '81:${port}', container: c }`;
    assert.deepEqual(await pendingOf(a), [`tcp ${one}`]);
    assert.deepEqual(await pendingOf(`${a}, ${b(one)}`), [`tcp ${one}`]);
    assert.deepEqual(await pendingOf(`${a}, ${b(other)}`), [
      `tcp ${one} (of service a)`,
      `tcp ${other} (of service b)`,
    ]);
    const redis = `b: { ports: '81:${one}', container: c, protocol: redis }`;
    assert.deepEqual(await pendingOf(`${a}, ${redis}`), [
      `tcp ${one} (of service a)`,
      `redis PING on ${one} (of service b)`,
    ]);
    const http = (name: string, host: string): string =>
      `${name}: { ports: '8${host.length}:${one}', container: c, ready: { http: /, headers: { Host: ${host} } } }`;
    assert.deepEqual(await pendingOf(`${http("a", "a.test")}, ${http("b", "b.local")}`), [
      `http / on ${one} (of service a)`,
      `http / on ${one} (of service b)`,
    ]);
  });
});
