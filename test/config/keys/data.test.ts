import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { Service } from "../../../src/config/config.ts";
import { serviceOfLabels } from "../../../src/config/labels.ts";
import { parseConfig } from "../../../src/config/parse.ts";
import { ConfigError } from "../../../src/config/yaml/config-error.ts";

const context = { env: {}, adminListen: { host: "127.0.0.1", port: 9464 } };

function service(yaml: string): Service {
  return parseConfig(Buffer.from(`services: { ftp: { ${yaml} } }`), "w.yaml", context).services[0]!;
}

/** `value: message | hint` of each problem of a file with this service. */
function problems(yaml: string): string[] {
  const text = `services: { ftp: { ${yaml} } }`;
  try {
    parseConfig(Buffer.from(text), "w.yaml", context);
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.problems.map(({ span, message, hint }) => {
      return `${text.slice(span?.start, span?.end)}: ${message}${hint === undefined ? "" : ` | ${hint}`}`;
    });
  }
  return [];
}

suite("data ports in a configuration", () => {
  test("are one or a list, with ranges and addresses, and map to the same target ports", () => {
    assert.deepEqual(service("ports: ['2121:21'], data: 30000-30009, container: c").data, [
      { listen: 30_000, target: 30_000, count: 10 },
    ]);
    assert.deepEqual(service("ports: 21, data: [30000, '127.0.0.1:30001:30001/tcp'], container: c").data, [
      { listen: 30_000, target: 30_000 },
      { listen: 30_001, target: 30_001, address: "127.0.0.1" },
    ]);
    assert.deepEqual(service("ports: 21, container: c").data, []);
  });

  const wrong: Readonly<Record<string, string>> = {
    "ports: 21, data: 30000/udp, container: c":
      '30000/udp: "data" of service "ftp": "30000/udp": data ports are for TCP: remove "/udp"',
    "ports: 21, data: ['30000-30001:40000-40001'], container: c":
      '\'30000-30001:40000-40001\': "data" of service "ftp": "30000-30001:40000-40001": a data port has the same number at the target, because servers send the number to clients',
    "ports: 53/udp, data: 30000, container: c":
      'data: service "ftp": "data" applies to TCP, and all ports are for UDP | remove it, or add a TCP port',
    "ports: 21, data: [30000, 20-22], container: c":
      '20-22: service "ftp": port 21 is already in use by service "ftp" | each port can be bound once',
    'ports: 21, data: 30000, forward: "10.0.0.1:21"':
      'data: service "ftp": "data" has no effect for "forward" | remove it',
    'ports: "2121:21", data: 30000-30009, process: { command: [x] }':
      '30000-30009: service "ftp": the process cannot listen on port 30000: it is a listen port of wakeport | give the process and wakeport different addresses: "192.0.2.1:30000-30009"',
    "ports: 21, data: 30000, protocol: http, container: c":
      'data: service "ftp": "data" is for FTP, and its protocol is "http" | write "protocol: ftp", or "protocol: raw" if wakeport must not read it, or move the ports to "ports"',
    "ports: 21, data: 30000, host: a.test, container: c":
      'data: service "ftp": "data" is for FTP, and FTP clients send no host name | remove "data" or "host"',
    "ports: 21, data: 30000-30999, container: c":
      '21: service "ftp": 1001 ports are more than the limit of 1000 | each port is a listener: use fewer',
  };
  for (const [yaml, problem] of Object.entries(wrong)) {
    test(`are rejected in "${yaml}"`, () => assert.deepEqual(problems(yaml), [problem]));
  }

  test("may be combined with sni, for FTP over TLS", () => {
    assert.equal(service("ports: 990, sni: ftp.example.org, data: 30000, container: c").data.length, 1);
  });

  test("may equal ports of a process on another address", () => {
    const process = `process: { command: [x], listen: "127.0.0.2:21" }`;
    assert.equal(service(`ports: "127.0.0.1:2121", data: "127.0.0.1:30000", ${process}`).data.length, 1);
  });

  test("cannot be in defaults", () => {
    const text = "services: { a: { ports: 1, container: c } }\ndefaults: { data: 30000 }\n";
    assert.throws(() => parseConfig(Buffer.from(text), "w.yaml", context), {
      message:
        /2:13 error: unknown key "data" in "defaults"[\s\S]*"data" belongs to one service: it cannot have a default/,
    });
  });

  test("may be a label, several with commas", () => {
    const config = parseConfig(Buffer.from("docker: { discover: true }\n"), "w.yaml", context);
    const labels = { "wakeport.enable": "true", "wakeport.ports": "2121:21", "wakeport.data": "30000-30009, 30020" };
    const found = serviceOfLabels({ reference: { name: "ftp" }, name: "ftp", labels }, config);
    assert.ok(found !== undefined && "service" in found, JSON.stringify(found));
    assert.deepEqual(found.service.data, [
      { listen: 30_000, target: 30_000, count: 10 },
      { listen: 30_020, target: 30_020 },
    ]);
  });
});
