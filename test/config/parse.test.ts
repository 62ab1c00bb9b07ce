/** How valid files are resolved. parse-errors.test.ts has the invalid ones. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import type { Config } from "../../src/config/config.ts";
import { parseConfig } from "../../src/config/parse.ts";
import { ConfigError } from "../../src/config/yaml/config-error.ts";

const context = { env: { PORT: "2121", EMPTY: "", NAME: "vsftpd" }, adminListen: { host: "127.0.0.1", port: 9464 } };

function parse(text: string | Uint8Array): Config {
  return parseConfig(typeof text === "string" ? Buffer.from(text) : text, "w.yaml", context);
}

suite("parseConfig()", () => {
  test("uses the value of the service, else of defaults, else the built-in one", () => {
    const { services } = parse(`
defaults: { idle_timeout: 1m, ready: healthy }
services:
  a: { ports: 1, container: c }
  b: { ports: 2, container: d, idle_timeout: 2m, ready: tcp }
`);
    assert.deepEqual(
      services.map(({ idleTimeoutMs, ready }) => [idleTimeoutMs, ready]),
      [
        [60_000, [{ kind: "healthy" }]],
        [120_000, [{ kind: "tcp" }]],
      ],
    );
    assert.equal(services[0]?.startTimeoutMs, 60_000);
  });

  test("parses each probe; the status of HTTP is a number or a range, by default 200 to 399", () => {
    const { services } = parse(`
services:
  a:
    ports: 1
    container: c
    ready: [tcp, healthy, { banner: "220" }, { log: 'ready on \\d+$' }, { http: / }]
  b:
    ports: 2
    container: d
    ready: [{ http: /, status: 204 }, { http: /, status: "401" }, { http: /, status: 200 - 299 }]
`);
    assert.deepEqual(services[0]?.ready, [
      { kind: "tcp" },
      { kind: "healthy" },
      { kind: "banner", banner: "220" },
      { kind: "log", pattern: "ready on \\d+$" },
      { kind: "http", path: "/", status: { from: 200, to: 399 } },
    ]);
    assert.deepEqual(
      services[1]?.ready.map((part) => part.kind === "http" && part.status),
      [
        { from: 204, to: 204 },
        { from: 401, to: 401 },
        { from: 200, to: 299 },
      ],
    );
  });

  test("resolves the target port: the listen port for a container, the port of the process for a process", () => {
    const { services } = parse(`
services:
  a: { ports: [80, "81:8081"], container: c }
  b: { ports: 82, process: { command: [x], listen: "127.0.0.1:9000" } }
  c: { ports: "83:9001", process: { command: [x] } }
`);
    assert.deepEqual(
      services.map(({ ports }) => ports.map(({ listen: listenPort, target }) => [listenPort, target])),
      [
        [
          [80, 80],
          [81, 8081],
        ],
        [[82, 9000]],
        [[83, 9001]],
      ],
    );
    assert.deepEqual(services[2]?.target.kind === "process" && services[2].target.listen, {
      host: "127.0.0.1",
      port: 9001,
    });
  });

  test("replaces variables in values, without a change of the structure", () => {
    const { services } = parse(`
services:
  a: { ports: "\${PORT}:21", container: "\${NAME}", idle_timeout: "\${EMPTY:-7s}" }
  b:
    ports: 1
    container: "a\${EMPTY}b"
    enabled: \${ON:-false}
`);
    const [a, b] = services;
    assert.deepEqual(a?.ports, [{ listen: 2121, target: 21 }]);
    assert.deepEqual([b?.enabled, a?.idleTimeoutMs], [false, 7_000]);
    assert.deepEqual(a?.target.kind === "container" && a.target.reference, { name: "vsftpd" });
    assert.deepEqual(b?.target.kind === "container" && b.target.reference, { name: "ab" });
    const injected = { ...context, env: { NAME: "x, idle_timeout: 1s" } };
    const text = Buffer.from("services: { a: { ports: 1, container: '${NAME}' } }");
    assert.throws(() => parseConfig(text, "w.yaml", injected), /"container" of service "a": a name has/);
  });

  test("applies docker.project to containers without a project", () => {
    const { services } = parse(`
docker: { project: shop }
services:
  a: { ports: 1, container: { service: s } }
  b: { ports: 2, container: { service: s, project: other } }
`);
    const projects = services.map(({ target }) => target.kind === "container" && target.reference);
    assert.deepEqual(projects, [
      { service: "s", project: "shop" },
      { service: "s", project: "other" },
    ]);
  });

  test("uses the address of the context only if the file defines none", () => {
    assert.deepEqual(parse("services: { a: { ports: 1, container: c } }").admin, { host: "127.0.0.1", port: 9464 });
    assert.deepEqual(parse(`admin: { listen: "[::1]:7" }\nservices: { a: { ports: 1, container: c } }`).admin, {
      host: "::1",
      port: 7,
    });
  });

  test("rejects names of object prototypes", () => {
    assert.throws(() => parse("services: { __proto__: { ports: 1, container: c } }"), ConfigError);
    assert.throws(
      () => parse("services: { a: { ports: 1, container: c, constructor: 1 } }"),
      /unknown key "constructor"/,
    );
  });

  test("throws ConfigError only, for random text", () => {
    const words = [
      "services",
      "a",
      ":",
      "{",
      "}",
      "[",
      "]",
      "-",
      " ",
      "\n",
      "  ",
      "ports",
      "2121:21",
      "container",
      "*x",
      "&x",
      "!!t",
      "${A",
      "|",
      "'",
      '"',
      "#",
      "\t",
      "~",
    ];
    const text = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.array(fc.constantFrom(...words)).map((parts) => parts.join("")),
    );
    fc.assert(
      fc.property(text, (content) => {
        try {
          parse(content);
        } catch (error) {
          assert.ok(error instanceof ConfigError, String(error));
        }
      }),
      { numRuns: 500 },
    );
  });
});
