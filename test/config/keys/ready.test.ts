/** The key `ready`. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { ReadySpec } from "../../../src/config/config.ts";
import { parseConfig } from "../../../src/config/parse.ts";
import { ConfigError } from "../../../src/config/yaml/config-error.ts";

const context = { env: {}, adminListen: { host: "127.0.0.1", port: 9464 } };

/** `place: message | hint` of each problem. */
function problems(settings: string, defaults = "{}"): string[] {
  const text = `defaults: ${defaults}\nservices: { a: { ports: 1, container: c, ${settings} } }`;
  try {
    parseConfig(Buffer.from(text), "w.yaml", context);
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.problems.map(
      ({ span, message, hint }) => `${text.slice(span?.start, span?.end)}: ${message} | ${hint}`,
    );
  }
  return [];
}

function readyOf(settings: string, defaults = "{}"): readonly ReadySpec[] | undefined {
  const ports = settings.includes("ports:") ? "" : "ports: 1, ";
  const text = `defaults: ${defaults}\nservices: { a: { ${ports}container: c, ${settings} } }`;
  return parseConfig(Buffer.from(text), "w.yaml", context).services[0]?.ready;
}

suite("ready", () => {
  const hintOf = (protocol: string): string =>
    protocol === "http" ? 'use "tcp", {http: /path} or "healthy"' : 'use "tcp", "healthy" or {log: …}';

  test("rejects probes that a server of the protocol cannot pass", () => {
    for (const protocol of ["http", "redis", "postgres"]) {
      assert.deepEqual(problems(`protocol: ${protocol}, ready: { banner: "x" }`), [
        `ready: service "a": its target would never be ready: in ${protocol} the client sends first | ${hintOf(protocol)}`,
      ]);
    }
    for (const protocol of ["ftp", "smtp", "ssh", "mysql", "redis", "postgres"]) {
      assert.deepEqual(problems(`protocol: ${protocol}, ready: [tcp, { http: / }]`), [
        `ready: service "a": its target would never be ready: a server of "protocol: ${protocol}" does not answer HTTP requests | ${hintOf(protocol)}`,
      ]);
    }
    assert.match(
      problems("protocol: redis", "{ ready: { banner: x } }")[0] ?? "",
      /^a: service "a": its target would never be ready/,
    );
    for (const good of ["ready: { banner: x }", "ready: { http: / }", "protocol: http, ready: { http: / }"]) {
      assert.deepEqual(problems(good), []);
    }
    assert.deepEqual(problems("protocol: ssh, ready: { banner: SSH }"), []);
  });

  test("is the probe of the protocol by default, else tcp", () => {
    for (const protocol of ["redis", "postgres", "mysql", "ftp", "smtp", "ssh"]) {
      assert.deepEqual(readyOf(`protocol: ${protocol}`), [{ kind: "protocol", protocol }]);
      assert.deepEqual(readyOf(`protocol: ${protocol}, ready: tcp`), [{ kind: "tcp" }]);
      assert.deepEqual(readyOf(`protocol: ${protocol}`, "{ ready: healthy }"), [{ kind: "healthy" }]);
    }
    assert.deepEqual(readyOf("enabled: true"), [{ kind: "tcp" }]);
    assert.deepEqual(readyOf("protocol: http, ready: protocol"), [{ kind: "tcp" }]);
    assert.deepEqual(readyOf("ready: [protocol, healthy]", "{ protocol: redis, ready: tcp }"), [
      { kind: "protocol", protocol: "redis" },
      { kind: "healthy" },
    ]);
  });

  test("is tcp on TLS ports by default, and empty with UDP ports only", () => {
    assert.deepEqual(readyOf("protocol: smtp, hold: silent, ports: 465"), [{ kind: "tcp" }]);
    assert.deepEqual(readyOf("ports: 6379/udp", "{ protocol: redis }"), []);
  });

  test("accepts headers of the HTTP request, except framing", () => {
    const http = (headers: string): string => `ready: { http: /, headers: ${headers} }`;
    for (const good of ["{ Host: app.test }", '{ Host: "app.test:8080", X-Depth: 2 }', "{}"]) {
      assert.deepEqual(problems(http(good)), []);
    }
    assert.match(problems(http("{ Connection: close }"))[0] ?? "", /header "Connection" is set by the probe itself/);
    assert.match(problems(http('{ "a b": c }'))[0] ?? "", /"a b" is not a header name/);
    assert.match(problems(http('{ a: "x\\r\\ny" }'))[0] ?? "", /header "a" contains a control/);
    assert.match(problems(http("{ a: b, A: c }"))[0] ?? "", /header "A" is set twice/);
    assert.match(problems(http("[Host]"))[0] ?? "", /is a list: expected a mapping/);
  });
});
