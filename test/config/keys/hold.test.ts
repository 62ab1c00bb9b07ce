import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { HoldSpec } from "../../../src/config/config.ts";
import { parseConfig } from "../../../src/config/parse.ts";
import { ConfigError } from "../../../src/config/yaml/config-error.ts";

const context = { env: {}, adminListen: { host: "127.0.0.1", port: 9464 } };

function holdOf(settings: string, defaults = "{}"): HoldSpec | undefined {
  const text = `services: { a: { ports: 1, container: c, ${settings} } }\ndefaults: ${defaults}\n`;
  return parseConfig(Buffer.from(text), "w.yaml", context).services[0]?.hold;
}

suite("hold", () => {
  test("is auto by default", () => {
    assert.deepEqual(holdOf("enabled: true"), { kind: "auto" });
    assert.deepEqual(holdOf("hold: silent"), { kind: "silent" });
    assert.deepEqual(holdOf("protocol: smtp", "{ hold: silent }"), { kind: "silent" });
    assert.deepEqual(holdOf("protocol: smtp, hold: auto", "{ hold: silent }"), { kind: "auto" });
  });

  test("of defaults applies to services that support it", () => {
    assert.deepEqual(holdOf("protocol: http", "{ hold: page }"), { kind: "page", logLines: 0 });
    assert.deepEqual(holdOf("protocol: postgres", "{ hold: page }"), { kind: "auto" });
    assert.deepEqual(holdOf("protocol: postgres", "{ hold: { page: { log_lines: 5 } } }"), { kind: "auto" });
  });

  const wrong: Readonly<Record<string, readonly [settings: string, message: RegExp]>> = {
    "the removed value loading": [
      "protocol: redis, hold: loading",
      /"hold" of service "a" is "loading": expected "auto", "silent", "page" or a mapping.*use "auto": clients of Redis wait/s,
    ],
    "a page without HTTP": [
      "protocol: redis, hold: page",
      /"hold: page" is for web browsers, and its protocol is "redis".*protocol: http/s,
    ],
    "a page with lines without HTTP": ["hold: { page: { log_lines: 3 } }", /"hold: page" is for web browsers/],
    "an invalid value": ["hold: slient", /did you mean "silent"/],
    "more lines than the limit": ["hold: { page: { log_lines: 101 } }", /at most 100/],
    "text as number of lines": ["hold: { page: { log_lines: many } }", /expected a number/],
    "an unknown key of page": ["hold: { page: { lines: 3 } }", /unknown key "lines"/],
  };
  for (const [name, [settings, message]] of Object.entries(wrong)) {
    test(`is rejected: ${name}`, () => {
      assert.throws(() => holdOf(settings), message);
    });
  }

  test("is rejected on TLS ports of a protocol with plain text", () => {
    const service = (settings: string): Buffer =>
      Buffer.from(`services: { a: { container: c, protocol: smtp, ${settings} } }\n`);
    for (const port of ["465", "4650:465", "465:25", "460-470", "4060-4069:460-469"]) {
      const parse = () => parseConfig(service(`ports: [25, "${port}"]`), "w.yaml", context);
      assert.throws(parse, /clients of port 465 begin with TLS.*hold: silent/s, port);
    }
    parseConfig(service("ports: [465], hold: silent"), "w.yaml", context);
    for (const hold of ["auto", "silent"]) {
      const implicit = Buffer.from(`services: { a: { ports: [990], protocol: ftp, hold: ${hold}, container: a } }\n`);
      assert.throws(
        () => parseConfig(implicit, "w.yaml", context),
        /clients of port 990 begin with TLS.*"data:" ports/s,
      );
    }
    parseConfig(service('ports: [25, 587, "460-464", "466-470", "465/udp"]'), "w.yaml", context);
  });

  test("and protocol of defaults do not apply to targets without a start", () => {
    for (const settings of ["ports: 465, builtin: echo", 'ports: 80, host: a.test, forward: "10.0.0.1:80"']) {
      const text = `defaults: { protocol: smtp, hold: silent }\nservices: { a: { ${settings} } }\n`;
      const [service] = parseConfig(Buffer.from(text), "w.yaml", context).services;
      assert.deepEqual([service?.protocol, service?.hold], ["raw", { kind: "auto" }], settings);
    }
  });

  test("has a hint for unknown protocols", () => {
    const hints: Readonly<Record<string, string>> = {
      smptp: 'did you mean "smtp"?',
      sftp: 'use "ssh"',
      mariadb: 'use "mysql"',
      valkey: 'use "redis"',
      postgresql: 'did you mean "postgres"?',
      imap: 'use "raw": wakeport relays all bytes unchanged',
      tcp: 'use "raw": wakeport relays all bytes unchanged',
    };
    for (const [protocol, hint] of Object.entries(hints)) {
      const text = `services: { a: { ports: 1, container: c, protocol: ${protocol} } }\n`;
      assert.throws(
        () => parseConfig(Buffer.from(text), "w.yaml", context),
        (error) => error instanceof ConfigError && error.problems.length === 1 && error.problems[0]?.hint === hint,
        protocol,
      );
    }
  });

  test("has a hint for protocols over TLS", () => {
    const parse = () =>
      parseConfig(Buffer.from("services: { a: { ports: 1, container: c, protocol: https } }\n"), "w.yaml", context);
    assert.throws(parse, /use "raw": wakeport relays TLS unread/);
  });

  test("is rejected for targets without a start", () => {
    const text = Buffer.from("services: { a: { ports: 1, builtin: echo, hold: silent } }");
    assert.throws(() => parseConfig(text, "w.yaml", context), /"hold" has no effect for "builtin"/);
  });
});
