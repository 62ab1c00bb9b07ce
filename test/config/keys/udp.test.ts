import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { Service } from "../../../src/config/config.ts";
import { parseConfig } from "../../../src/config/parse.ts";
import { ConfigError } from "../../../src/config/yaml/config-error.ts";

const context = { env: {}, adminListen: { host: "127.0.0.1", port: 9464 } };

function services(yaml: string): readonly Service[] {
  return parseConfig(Buffer.from(yaml), "w.yaml", context).services;
}

function service(yaml: string): Service {
  return services(`services: { dns: { ${yaml} } }`)[0]!;
}

/** `message | hint` of each problem. */
function problems(yaml: string): string[] {
  try {
    services(yaml);
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.problems.map(({ message, hint }) => `${message}${hint === undefined ? "" : ` | ${hint}`}`);
  }
  return [];
}

suite("UDP ports", () => {
  test("have the syntax of compose", () => {
    const { ports } = service(
      `ports: ["53/udp", "5353:53/udp", "127.0.0.1:54/udp", "[::1]:54:53/udp", 53], container: c`,
    );
    assert.deepEqual(ports, [
      { listen: 53, target: 53, protocol: "udp" },
      { listen: 5353, target: 53, protocol: "udp" },
      { listen: 54, target: 54, address: "127.0.0.1", protocol: "udp" },
      { listen: 54, target: 53, address: "::1", protocol: "udp" },
      { listen: 53, target: 53 },
    ]);
  });

  test("map to the port of the process", () => {
    const command = `command: [dnsmasq], listen: "127.0.0.1:5300"`;
    assert.equal(service(`ports: 53/udp, process: { ${command} }`).ports[0]?.target, 5300);
  });

  test("may have the number of a TCP port, but not of another UDP port", () => {
    assert.deepEqual(problems("services: { a: { ports: [53, 53/udp], container: a } }"), []);
    assert.deepEqual(problems("services: { a: { ports: 53/udp, container: a }, b: { ports: 53/udp, container: b } }"), [
      `service "b": port 53/udp is already in use by service "a" | each port can be bound once`,
    ]);
    assert.deepEqual(problems("services: { a: { ports: 9464/udp, container: a } }"), []);
  });

  test("of a process must differ from the listen port of wakeport", () => {
    const process = `process: { command: [a], listen: "127.0.0.1:53" }`;
    assert.equal(problems(`services: { a: { ports: 53/udp, ${process} } }`).length, 1);
    const [one, other] = ["53/udp", "53/tcp"].map((port) => `ports: "1${port}", ${process}`);
    assert.deepEqual(problems(`services: { a: { ${one} }, b: { ${other} } }`), [], "one of UDP, and one of TCP");
  });

  test("are rejected for targets that answer forged senders", () => {
    const [builtin] = problems("services: { a: { ports: 7/udp, builtin: echo } }");
    assert.match(
      builtin ?? "",
      /^service "a": over UDP the builtin services .*amplify attacks \| remove "\/udp": UDP is for containers/,
    );
    assert.equal(problems(`services: { a: { ports: 7/udp, forward: "10.0.0.5:7000" } }`).length, 1);
  });

  test("are rejected for inetd and for inherited listeners", () => {
    const [inetd] = problems("services: { a: { ports: 7/udp, inetd: { command: [/bin/cat] } } }");
    assert.match(inetd ?? "", /inetd starts a program for each connection, and datagrams have none/);
    const [handed] = problems("services: { a: { ports: 7/udp, process: { command: [a], activation: listen_fds } } }");
    assert.match(handed ?? "", /passes on TCP listeners only \| remove "activation"/);
  });

  test("may be names of /etc/services", () => {
    assert.deepEqual(service("ports: [domain/udp, domain], container: c").ports, [
      { listen: 53, target: 53, protocol: "udp" },
      { listen: 53, target: 53 },
    ]);
  });

  test("have no other transport", () => {
    const [problem] = problems("services: { a: { ports: 7/sctp, container: c } }");
    assert.match(problem ?? "", /"7\/sctp": the protocol is tcp or udp: write "7" or "7\/udp"/);
  });
});

suite("ready of a service with UDP ports only", () => {
  test("has no probe by default", () => {
    assert.deepEqual(service("ports: 53/udp, container: c").ready, []);
    assert.deepEqual(service("ports: [53/udp, 53], container: c").ready, [{ kind: "tcp" }]);
  });

  test("rejects probes that connect", () => {
    for (const ready of ["tcp", "{ banner: a }", "{ http: / }", "[healthy, tcp]"]) {
      const [problem] = problems(`services: { a: { ports: 53/udp, container: c, ready: ${ready} } }`);
      assert.match(problem ?? "", /connects to a TCP port, and all its ports are for UDP \| remove it, or use/, ready);
    }
    assert.deepEqual(service("ports: 53/udp, container: c, ready: healthy").ready, [{ kind: "healthy" }]);
  });

  test("inherits probes that do not connect", () => {
    const yaml = "defaults: { ready: [tcp, healthy] }, services: { a: { ports: 53/udp, container: c } }";
    assert.deepEqual(services(`{ ${yaml} }`)[0]?.ready, [{ kind: "healthy" }]);
  });
});

suite("keys that need a TCP port", () => {
  test("are rejected with UDP ports only", () => {
    const keys = ["protocol: ftp", "hold: silent", "wake_on: first_byte", "proxy_protocol: { send: v2 }"];
    for (const key of keys) {
      const [problem, ...others] = problems(`services: { a: { ports: [53/udp, 54/udp], container: c, ${key} } }`);
      assert.match(problem ?? "", /applies to TCP, and all ports are for UDP \| remove it, or add a TCP port$/, key);
      assert.deepEqual(others, []);
    }
    const nothing = "protocol: raw, hold: auto, wake_on: connect";
    assert.deepEqual(problems(`services: { a: { ports: 53/udp, container: c, ${nothing} } }`), []);
    assert.deepEqual(problems("services: { a: { ports: [53/udp, 54], container: c, protocol: ftp } }"), []);
    assert.deepEqual(
      problems("{ defaults: { protocol: http }, services: { a: { ports: 53/udp, container: c } } }"),
      [],
    );
  });
});

suite("udp", () => {
  test("is inherited by key", () => {
    assert.deepEqual(service("ports: 53/udp, container: c").udp, {
      flowTimeoutMs: 30_000,
      flows: 1_000,
      heldBytes: 65_536,
    });
    const yaml = `{ defaults: { udp: { flows: 5, held: 1k } }, services: { a: { ports: 53/udp, container: c, udp: { flow_timeout: 2m, flows: 7 } } } }`;
    assert.deepEqual(services(yaml)[0]?.udp, { flowTimeoutMs: 120_000, flows: 7, heldBytes: 1_024 });
  });

  test("is rejected without a UDP port", () => {
    assert.deepEqual(problems("services: { a: { ports: 53, container: c, udp: { flows: 7 } } }"), [
      `service "a": "udp" has no effect without a UDP port | remove it, or write a port as "53/udp"`,
    ]);
  });

  test("has limits for its values", () => {
    for (const udp of ["{ flows: 0 }", "{ flow_timeout: 0s }", "{ held: lots }", "{ flow: 3 }"]) {
      assert.equal(problems(`services: { a: { ports: 53/udp, container: c, udp: ${udp} } }`).length, 1, udp);
    }
  });
});
