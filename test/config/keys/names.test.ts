/** The keys `host`, `sni` and `proxy_protocol`. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { Service } from "../../../src/config/config.ts";
import { serviceOfLabels } from "../../../src/config/labels.ts";
import { parseConfig } from "../../../src/config/parse.ts";
import { ConfigError } from "../../../src/config/yaml/config-error.ts";
import { formatNetwork } from "../../../src/net/ip.ts";

const context = { env: {}, adminListen: { host: "127.0.0.1", port: 9464 } };

function read(text: string): readonly Service[] {
  return parseConfig(Buffer.from(text), "w.yaml", context).services;
}

/** One service in each line: its name and keys, besides its container and its port (default 80). */
function services(...lines: readonly (readonly [name: string, keys: string])[]): string {
  const entries = lines.map(([name, keys]) => {
    const ports = keys.includes("ports:") ? "" : "ports: 80, ";
    const target = /(process|inetd|forward|builtin|sensor):/.test(keys) ? "" : `, container: ${name}`;
    return `  ${name}: { ${ports}${keys}${target} }\n`;
  });
  return `services:\n${entries.join("")}`;
}

/** `line:column message | hint` of each problem. */
function problemsOf(text: string): string[] {
  try {
    read(text);
    return [];
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.problems.map(({ message, span, hint }) => {
      const before = text.slice(0, span?.start ?? 0).split("\n");
      return `${before.length}:${(before.at(-1)?.length ?? 0) + 1} ${message}${hint === undefined ? "" : ` | ${hint}`}`;
    });
  }
}

suite("names", () => {
  test("are one or several, in lower case, without a dot at the end", () => {
    const [a, b, c] = read(
      services(["a", "host: App.Test."], ["b", 'host: ["*.App.test", web.test]'], ["c", 'ports: 443, sni: "*"']),
    );
    assert.deepEqual(a?.names, { kind: "host", patterns: ["app.test"] });
    assert.deepEqual(b?.names, { kind: "host", patterns: ["*.app.test", "web.test"] });
    assert.deepEqual(c?.names, { kind: "sni", patterns: ["*"] });
  });

  test("may share a port of one address", () => {
    const lines = services(
      ["a", 'ports: ["127.0.0.1:80", "443/udp"], host: a.test'],
      ["b", 'ports: ["127.0.0.1:80"], host: ["b.test", "*"], process: { command: [x], listen: "127.0.0.1:90" }'],
      ["c", 'ports: ["127.0.0.1:80"], host: c.test, forward: "10.0.0.1:80"'],
      ["d", 'ports: ["127.0.0.1:80"], host: d.test, enabled: false'],
      ["e", 'ports: ["127.0.0.1:80"], host: d.test, sensor: { ban: 1m }'],
      ["f", 'ports: ["127.0.0.1:79-81"], host: f.test'],
    );
    assert.deepEqual(problemsOf(lines), []);
  });

  const wrong: Readonly<Record<string, readonly [text: string, ...problems: string[]]>> = {
    "one port without names": [
      services(["a", ""], ["b", ""]).replaceAll("80, ,", "80,"),
      '3:15 service "b": port 80 is already in use by service "a" | each port can be bound once; services can share it by "host" (HTTP) or "sni" (TLS)',
    ],
    "a name for the second service only": [
      services(["a", "host: a.test"], ["b", "enabled: true"]),
      '3:15 service "b": port 80 is already in use by service "a" | to share the port, give service "b" a "host" as well: "*" matches all other names',
    ],
    "a name for the first service only": [
      services(["a", "enabled: true"], ["b", "sni: a.test"]),
      '3:15 service "b": port 80 is already in use by service "a" | to share the port, give service "a" a "sni" as well: "*" matches all other names',
    ],
    "two kinds of names on one port": [
      services(["a", "host: a.test"], ["b", "sni: b.test"]),
      '3:15 services "a" and "b" share port 80, but one has "host" and the other "sni" | give them different ports: one is for HTTP and the other for TLS',
    ],
    "both kinds of names for one service": [
      services(["a", "host: a.test, sni: a.test"]),
      '2:33 service "a": "sni" and "host" exclude each other | write two services, which may have the same target',
    ],
    "a name of another service": [
      services(["a", "host: [x.test, a.test]"], ["b", 'host: "*"'], ["c", "host: [c.test, A.test]"]),
      '4:15 service "c": name "a.test" on port 80 already belongs to service "a" | use each name in one service only',
    ],
    'two services with "*"': [
      services(["a", 'host: "*"'], ["b", 'host: "*"']),
      '3:15 service "b": name "*" on port 80 already belongs to service "a" | use each name in one service only',
    ],
    "a duplicate name": [
      services(["a", "host: [a.test, b.test, A.test.]"]),
      '2:19 service "a": "a.test" is a duplicate | remove one of the two',
    ],
    "another address": [
      services(["a", 'ports: "127.0.0.1:80", host: a.test'], ["b", "host: b.test"]),
      '3:15 service "b": port 80 is already in use by service "a" | to share the port, write it with the same address in both services',
    ],
    "other networks of proxies": [
      services(["a", "host: a.test, proxy_protocol: { receive: 10.0.0.1 }"], ["b", "host: b.test"]),
      '3:15 services "a" and "b" share port 80, but accept PROXY headers from different networks | give both the same "proxy_protocol: { receive: [...] }": the header is read before the name',
    ],
    "the port of the admin server": [
      services(["a", 'ports: "127.0.0.1:9464", host: a.test']),
      '2:15 service "a": port 9464 is already in use by the admin server | each port can be bound once',
    ],
    inetd: [
      services(["a", "host: a.test, inetd: { command: [x] }"]),
      '2:19 service "a": "inetd" passes the connection itself to the program, so wakeport cannot read a name from it | remove "host", or use "process"',
    ],
    "UDP ports only": [
      services(["a", "ports: 443/udp, sni: a.test"]),
      '2:24 service "a": "sni" applies to TCP, and all ports are for UDP | remove it, or add a TCP port',
    ],
    "a protocol in which the server sends first": [
      services(["a", "host: a.test, protocol: smtp"]),
      '2:19 service "a": with "protocol: smtp" the client sends nothing before the server does | remove "host", and give the service its own port',
    ],
    "a protocol without TLS at the start": [
      services(["a", "sni: a.test, protocol: postgres"]),
      '2:19 service "a": clients of "protocol: postgres" do not begin with TLS | use "protocol: raw"',
    ],
    "a data port of another service": [
      services(["a", "ports: 81, data: 80"], ["b", "host: b.test"]),
      '3:15 service "b": port 80 is already in use by service "a" | each port can be bound once',
    ],
    "a port in the range of another service": [
      services(["a", 'ports: "79-81", host: a.test'], ["b", "host: a.test"]),
      '3:15 service "b": name "a.test" on port 80 already belongs to service "a" | use each name in one service only',
    ],
    "an empty list": [services(["a", "host: []"]), '2:19 "host" of service "a" is an empty list'],
    "an invalid name": [
      services(["a", "host: a_b.test/x"]),
      '2:25 "host" of service "a": "a_b.test/x" is not a name: write it as "app.test" or "*.app.test", and several names as a list',
    ],
    "a URL": [
      services(["a", '"host": "http://a.test"']),
      '2:27 "host" of service "a": "http://a.test" is a URL: write the host name alone',
    ],
    "a port": [
      services(["a", 'host: "a.test:8080"']),
      '2:25 "host" of service "a": "a.test:8080": a name has no port: write "a.test"',
    ],
    "several names in one text": [
      services(["a", 'host: "a.test, b.test"']),
      '2:25 "host" of service "a": "a.test, b.test" is not a name: write it as "app.test" or "*.app.test", and several names as a list',
    ],
    "a name with a dot at the start": [
      services(["a", "host: .a.test"]),
      '2:25 "host" of service "a": ".a.test" is not a name: write it as "app.test" or "*.app.test", and several names as a list',
    ],
    '"*" in the middle': [
      services(["a", 'host: ["a.*.test"]']),
      '2:26 "host" of service "a": "a.*.test": "*" is the whole name, or the first label: "*.app.test"',
    ],
    "a name outside of ASCII": [
      services(["a", "sni: B\u00fccher.test"]),
      '2:24 "sni" of service "a": "B\u00fccher.test": clients send this name in ASCII: write "xn--bcher-kva.test"',
    ],
    "an IPv6 address": [
      services(["a", 'host: "[::1]"']),
      '2:25 "host" of service "a": "[::1]": an IPv6 address is not a name: use "*" for clients that send one',
    ],
    "an IPv4 address for sni": [
      services(["a", "sni: 10.0.0.1"]),
      '2:24 "sni" of service "a": "10.0.0.1": TLS clients never send an address (RFC 6066): write a name, or "*"',
    ],
  };
  for (const [what, [text, ...problems]] of Object.entries(wrong)) {
    test(`rejects ${what}`, () => assert.deepEqual(problemsOf(text), problems));
  }

  test("belong to one service, not to defaults", () => {
    const [problem] = problemsOf(`${services(["a", "enabled: true"])}defaults: { host: a.test }\n`);
    assert.match(problem ?? "", /"host" belongs to one service: it cannot have a default/);
  });

  test("may be labels, several with commas", () => {
    const config = parseConfig(Buffer.from("docker: { discover: true }"), "w.yaml", context);
    const labels = {
      "wakeport.enable": "true",
      "wakeport.ports": "80",
      "wakeport.host": "app.test, *.app.test",
      "wakeport.proxy_protocol.receive": "[10.0.0.0/8]",
      "wakeport.proxy_protocol.send": "v1",
    };
    const read = serviceOfLabels({ reference: { name: "a" }, name: "a", labels }, config);
    assert.ok(read !== undefined && "service" in read);
    assert.deepEqual(read.service.names, { kind: "host", patterns: ["app.test", "*.app.test"] });
    assert.deepEqual([read.service.proxyProtocol.send, read.service.proxyProtocol.receive.length], ["v1", 1]);
  });
});

suite("proxy_protocol", () => {
  test("may be in defaults, and each of its keys is inherited separately", () => {
    const [a, b, c] = read(
      `${services(
        ["a", "enabled: true"],
        ["b", "ports: 81, proxy_protocol: { send: v2 }"],
        ["c", "ports: 82, proxy_protocol: { receive: [] }, builtin: echo"],
      )}defaults: { proxy_protocol: { receive: [10.0.0.0/8, "fd00::/8"], send: v1 } }\n`,
    );
    assert.deepEqual(a?.proxyProtocol.receive.map(formatNetwork), ["10.0.0.0/8", "fd00::/8"]);
    assert.equal(a?.proxyProtocol.send, "v1");
    assert.deepEqual([b?.proxyProtocol.send, b?.proxyProtocol.receive.length], ["v2", 2]);
    // Targets without a connection of wakeport get no header.
    assert.deepEqual(c?.proxyProtocol, { receive: [] });
  });

  test("is received from accepted connections, and sent to dialed targets", () => {
    for (const target of ["builtin: echo", "sensor: { ban: 1m }", 'forward: "10.0.0.1:80"']) {
      assert.deepEqual(problemsOf(services(["a", `proxy_protocol: { receive: 10.0.0.1 }, ${target}`])), []);
    }
    assert.deepEqual(problemsOf(services(["a", 'proxy_protocol: { send: v1 }, forward: "10.0.0.1:80"'])), []);
    assert.deepEqual(problemsOf(services(["a", "proxy_protocol: { send: v1 }, builtin: echo"])), [
      '2:37 service "a": wakeport opens no connection to "builtin", so "send" has no effect | remove it',
    ]);
    const inetd =
      'service "a": "inetd" passes the connection itself to the program, so wakeport cannot read a header from it';
    const hint = 'use "process", or "proxy_protocol: { receive: [] }" if no proxy connects';
    assert.deepEqual(problemsOf(services(["a", "proxy_protocol: { receive: 10.0.0.1 }, inetd: { command: [x] }"])), [
      `2:37 ${inetd} | ${hint}`,
    ]);
    const inherited = `${services(["a", "inetd: { command: [x] }"])}defaults: { proxy_protocol: { receive: 10.0.0.1 } }\n`;
    assert.deepEqual(problemsOf(inherited), [`2:3 ${inetd} | ${hint}`]);
  });

  test("accepts valid networks and versions only", () => {
    assert.match(problemsOf(services(["a", "proxy_protocol: { receive: all }"]))[0] ?? "", /write "0.0.0.0\/0"/);
    assert.match(problemsOf(services(["a", "proxy_protocol: { send: 2 }"]))[0] ?? "", /expected "v1" or "v2"/);
  });
});
