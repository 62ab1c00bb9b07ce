/** The keys about access, limits and banners. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, suite, test } from "node:test";
import type { Config, Service } from "../../../src/config/config.ts";
import { parseConfig } from "../../../src/config/parse.ts";
import { parseTimes } from "../../../src/config/values/access-times.ts";
import { parseNetwork } from "../../../src/config/values/networks.ts";
import { ConfigError } from "../../../src/config/yaml/config-error.ts";

const folder = mkdtempSync(path.join(tmpdir(), "admission-"));
after(() => rmSync(folder, { recursive: true }));
writeFileSync(path.join(folder, "words"), "from a file\r\n");

function parse(text: string): Config {
  const source = path.join(folder, "w.yaml");
  return parseConfig(Buffer.from(text), source, { env: {}, adminListen: { host: "127.0.0.1", port: 9464 } });
}

function serviceOf(own: string, defaults = "{}"): Service {
  const { services } = parse(`defaults: ${defaults}\nservices: { a: { ports: 1, container: c, ${own} } }\n`);
  return services[0]!;
}

function complaint(text: string): string {
  try {
    parse(text);
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error.message;
  }
  assert.fail("it was accepted");
}

suite("access, limits, banner, on_deny", () => {
  test("accept all clients by default", () => {
    const { access, limits, banner, onDeny } = serviceOf("");
    assert.deepEqual(access, { deny: [] });
    assert.deepEqual(limits, { waiting: 1_000, ipv6Prefix: 64, onLimit: "reject" });
    assert.deepEqual(banner, {});
    assert.equal(onDeny, "reset");
  });

  test("are parsed", () => {
    const service = serviceOf(`
      access: { allow: [10.0.0.0/8, "fd00::/8"], deny: 10.0.9.0/24, times: ["mon-fri 08:00-20:00"], timezone: Asia/Tokyo },
      limits: { connections: 50, waiting: 9, per_source: 10, ipv6_prefix: 56, rate: 50/s, rate_per_source: 10/m, max_load: 4.0, on_limit: queue },
      banner: { connect: "hi\\r\\n", accept: { file: words } }, on_deny: close`);
    assert.deepEqual(service.access, {
      allow: [parseNetwork("10.0.0.0/8"), parseNetwork("fd00::/8")],
      deny: [parseNetwork("10.0.9.0/24")],
      times: [parseTimes("mon-fri 08:00-20:00")],
      timeZone: "Asia/Tokyo",
    });
    assert.deepEqual(service.limits, {
      connections: 50,
      waiting: 9,
      perSource: 10,
      ipv6Prefix: 56,
      rate: { count: 50, perMs: 1_000 },
      ratePerSource: { count: 10, perMs: 60_000 },
      maxLoad: 4,
      onLimit: "queue",
    });
    assert.deepEqual(service.banner, { connect: Buffer.from("hi\r\n"), accept: Buffer.from("from a file\r\n") });
    assert.equal(service.onDeny, "close");
  });

  test("monitors are networks, and those of a service replace those of defaults", () => {
    const defaults = "{ monitors: [10.0.0.5, 10.1.0.0/16] }";
    const read = (own: string): unknown => serviceOf(own, defaults).monitors;
    assert.deepEqual(read(""), [parseNetwork("10.0.0.5"), parseNetwork("10.1.0.0/16")]);
    assert.deepEqual(read('monitors: "fd00::5/128"'), [parseNetwork("fd00::5")]);
    assert.deepEqual(read("monitors: []"), []);
    assert.deepEqual(serviceOf("").monitors, []);
  });

  test("an empty list of networks is kept", () => {
    assert.deepEqual(serviceOf("access: { allow: [] }").access.allow, []);
  });

  test("defaults are inherited by key, and a list of a service replaces theirs", () => {
    const defaults = `{ access: { allow: [10.0.0.0/8], deny: [10.0.9.1] }, limits: { rate: 1/s, per_source: 3 },
      banner: { deny: "no", accept: "yes" }, on_deny: close }`;
    const { access, limits, banner, onDeny } = serviceOf(
      'access: { allow: ["fd00::/8"] }, limits: { per_source: 4 }, banner: { accept: "welcome" }',
      defaults,
    );
    assert.deepEqual(access, { allow: [parseNetwork("fd00::/8")], deny: [parseNetwork("10.0.9.1")] });
    assert.deepEqual([limits.perSource, limits.rate], [4, { count: 1, perMs: 1_000 }]);
    assert.deepEqual([banner.deny?.toString(), banner.accept?.toString()], ["no", "welcome"]);
    assert.equal(onDeny, "close");
  });

  test("a sensor has a ban", () => {
    const [service] = parse("services: { trap: { ports: 1, sensor: { ban: 60m } } }\n").services;
    assert.deepEqual(service?.target, { kind: "sensor", banMs: 3_600_000 });
  });

  test("a sensor does not inherit limits of defaults", () => {
    const [service] = parse(`defaults: { limits: { rate: 1/s, max_load: 1, ipv6_prefix: 48 } }
services: { trap: { ports: 1, sensor: { ban: 60m }, limits: { connections: 5 } } }\n`).services;
    assert.deepEqual(service?.limits, { waiting: 1_000, ipv6Prefix: 48, onLimit: "reject", connections: 5 });
  });

  const bad: Readonly<Record<string, readonly [text: string, expected: RegExp]>> = {
    "an ambiguous network": [
      "services:\n  a:\n    ports: 1\n    container: c\n    access:\n      allow:\n        - 10.1.0.0\n",
      /w\.yaml:7:11 error: "access\.allow" of service "a": "10\.1\.0\.0" is an address or a network/,
    ],
    "an invalid network": [
      "services: { a: { ports: 1, container: c, access: { deny: localhost } } }\n",
      /"access\.deny" of service "a": "localhost" is a name: names are not resolved/,
    ],
    "an invalid day": [
      "services: { a: { ports: 1, container: c, access: { times: [moon 08:00-09:00] } } }\n",
      /1:60 error: .*"moon" is not a day: did you mean "mon"\?/,
    ],
    "an empty list of times": [
      "services: { a: { ports: 1, container: c, access: { times: [] } } }\n",
      /"access\.times" of service "a" is an empty list/,
    ],
    "a time zone without times": [
      "services: { a: { ports: 1, container: c, access: { timezone: UTC } } }\n",
      /"timezone" has no effect without "times"/,
    ],
    "a rate without a unit": [
      "services: { a: { ports: 1, container: c, limits: { rate: 50 } } }\n",
      /a rate has a unit: write "50\/s"/,
    ],
    "a limit of 0": [
      "services: { a: { ports: 1, container: c, limits: { connections: 0 } } }\n",
      /"limits\.connections" of service "a" is 0: expected at least 1/,
    ],
    "a misspelt limit": [
      "services: { a: { ports: 1, container: c, limits: { per_sorce: 1 } } }\n",
      /did you mean "per_source"\?/,
    ],
    "a missing banner file": [
      "services:\n  a:\n    ports: 1\n    container: c\n    banner:\n      deny: { file: none }\n",
      /w\.yaml:6:21 error: service "a": banner: file ".*none" does not exist/,
    ],
    "a missing banner file of defaults, once": [
      "defaults: { banner: { deny: { file: none } } }\nservices: { a: { ports: 1, container: c }, b: { ports: 2, container: d } }\n",
      /1:37 error: banner: file ".*none" does not exist[\s\S]*: 1 problem$/,
    ],
    "a banner above the limit": [
      `services: { a: { ports: 1, container: c, banner: { deny: ${"x".repeat(65_537)} } } }\n`,
      /longer than 65536 bytes/,
    ],
    "a banner with another key": [
      "services: { a: { ports: 1, container: c, banner: { deny: [1] } } }\n",
      /"banner\.deny" of service "a" is a list: expected text or a mapping/,
    ],
    "a ban of 0s": ["services: { a: { ports: 1, sensor: { ban: 0s } } }\n", /a ban must be longer than 0s/],
    "a target port of a sensor": [
      "services: { a: { ports: '1:2', sensor: { ban: 1h } } }\n",
      /a target port has no effect for "sensor"/,
    ],
    "sleep settings of a sensor": [
      "services: { a: { ports: 1, sensor: { ban: 1h }, idle_timeout: 1m } }\n",
      /"idle_timeout" has no effect for "sensor"/,
    ],
  };
  for (const [what, [text, expected]] of Object.entries(bad)) {
    test(`${what} is reported with its place`, () => assert.match(complaint(text), expected));
  }
});
