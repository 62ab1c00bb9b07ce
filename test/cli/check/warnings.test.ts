import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { warnings } from "../../../src/cli/check/warnings.ts";
import { parseConfig } from "../../../src/config/parse.ts";

const context = { env: {}, adminListen: { host: "127.0.0.1", port: 9464 } };

function remarksOn(services: string): string[] {
  const { services: parsed } = parseConfig(Buffer.from(`services: { ${services} }`), "w.yaml", context);
  return warnings(parsed).map(({ of, remark }) => `${of}: ${remark}`);
}

suite("warnings()", () => {
  test("report services that share a container but differ in their times", () => {
    const ftp = "ftp: { ports: '2121:21', container: c, protocol: ftp, data: 30000, idle_timeout: 10m }";
    const web = (times: string): string => `web: { ports: 80, container: c, ${times} }`;
    assert.deepEqual(remarksOn(`${ftp}, ${web("start_timeout: 6s")}`), [
      "ftp, web: share container c: the longest times apply: idle 10m, start ≤ 1m",
    ]);
    assert.deepEqual(remarksOn(`${ftp}, ${web("idle_timeout: 10m")}`), []);
    assert.deepEqual(remarksOn(`${ftp}, ${web("start_timeout: 6s, enabled: false")}`), []);
  });

  test("report cycles through groups and `with`", () => {
    const outside = "b: { container: b, depends_on: [c] }, c: { container: c, depends_on: [d] }";
    const members = (group: string): string =>
      `a: { ports: 1, container: a, group: shop, depends_on: [b] }, d: { ports: 2, container: d, group: ${group} }`;
    assert.deepEqual(remarksOn(`${members("shop")}, ${outside}`), [
      'a, d: "a" depends on "d" through services outside of group "shop" (a → b → c → d): they start together and sleep in this order',
    ]);
    assert.deepEqual(remarksOn(`${members("other")}, ${outside}`), []);
    const web = "web: { ports: 1, container: web, group: g, depends_on: [db] }, db: { container: db, group: g }";
    assert.deepEqual(remarksOn(web), []);
    const worker = (more: string): string => `${web}, worker: { container: worker, with: [web], ${more} }`;
    assert.deepEqual(remarksOn(worker("depends_on: [db]")), []);
    assert.deepEqual(remarksOn(worker("depends_on: [web]")), [
      'worker: starts with "web" and depends on it (worker → web): both sleep after the idle timeout of "web", "worker" first',
    ]);
  });

  const cases: Readonly<Record<string, readonly RegExp[]>> = {
    "protocol: ftp, container: c, ports: 21": [/clients that encrypt .* need "data" ports/],
    "protocol: ftp, container: c, ports: 21, data: 30000": [],
    "protocol: ftp, container: c, ports: ['21', '30000-30009', '2020:20']": [/^a: 30000-30009, 2020 in "ports": /],
    "protocol: ftp, container: c, ports: ['21', '20'], data: 30000": [/^a: 20 in "ports": /],
    "protocol: ftp, container: c, ports: 21, proxy_protocol: { receive: 10.0.0.1 }": [
      /clients that encrypt/,
      /cannot use active mode.* "data" ports .*public_address/,
    ],
    "protocol: ftp, container: c, ports: 21, data: 30000, proxy_protocol: { receive: 10.0.0.1 }, ftp: { public_address: 192.0.2.1 }":
      [],
    "container: c, ports: '2121:21'": [/^a: port 21 is the port of FTP.*"protocol: ftp"/],
    "container: c, ports: '2121:21', data: 30000": [],
    "container: c, ports: '21:2121'": [],
    "container: c, ports: 21/udp": [],
    "container: c, ports: 21, enabled: false": [],
    "forward: '192.0.2.1:21', ports: 21": [],
    "container: c, ports: 3306, wake_on: first_byte": [
      /^a: port 3306 is the port of MySQL.* no client starts the target$/,
    ],
    "container: c, ports: 3306": [],
    "container: c, ports: 22, wake_on: first_byte": [],
    "container: c, ports: 5432, wake_on: first_byte": [],
    "container: c, ports: 22, protocol: ssh": [],
  };
  for (const [settings, expected] of Object.entries(cases)) {
    test(`has ${expected.length} remarks on ${settings}`, () => {
      const found = remarksOn(`a: { ${settings} }`);
      assert.equal(found.length, expected.length, found.join("\n"));
      for (const [index, pattern] of expected.entries()) assert.match(found[index] ?? "", pattern);
    });
  }
});
