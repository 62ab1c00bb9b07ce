/** Services without ports, and which services wake which. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { parseConfig } from "../../src/config/parse.ts";
import { ConfigError } from "../../src/config/yaml/config-error.ts";

const context = { env: {}, adminListen: { host: "127.0.0.1", port: 9464 } };

function parse(services: string, more = ""): ReturnType<typeof parseConfig> {
  return parseConfig(Buffer.from(`services: { ${services} }\n${more}`), "w.yaml", context);
}

/** `message | hint` of each problem. */
function problems(services: string, more = ""): string[] {
  try {
    parse(services, more);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.map(({ message, hint }) => (hint === undefined ? message : `${message} | ${hint}`));
  }
}

const web = "web: { ports: 1, container: web }";

suite("a service without ports", () => {
  test("is ready when it runs or by its own probe, and ignores defaults about clients", () => {
    const defaults = "defaults: { ready: tcp, protocol: smtp, access: { allow: [] }, wake_on: first_byte }";
    const first = "web: { ports: 1, container: web, wake_on: connect }";
    const { services } = parse(
      `${first}, a: { container: a, with: [web] }, b: { container: b, with: [web], ready: [healthy, { log: up }] }`,
      defaults,
    );
    assert.deepEqual(
      services.map(({ name, ports, ready, wakesWith, protocol }) => [
        name,
        ports.length,
        ready.map(({ kind }) => kind),
        wakesWith,
        protocol,
      ]),
      [
        ["web", 1, ["tcp"], [], "smtp"],
        ["a", 0, [], ["web"], "raw"],
        ["b", 0, ["healthy", "log"], ["web"], "raw"],
      ],
    );
  });

  test("may have a container, a created container or a process", () => {
    const kinds = ["container: { image: a }", "container: { service: a, project: b }", "process: { command: [a] }"];
    for (const kind of kinds) assert.deepEqual(problems(`${web}, a: { ${kind}, with: [web] }`), []);
  });

  for (const kind of ["inetd: { command: [a] }", "forward: 'a:1'", "builtin: echo", "sensor: { ban: 1m }"]) {
    test(`is rejected with ${kind}`, () => {
      assert.match(problems(`${web}, a: { ${kind} }`)[0] ?? "", /"a": "ports" is missing: .* only serves clients/);
    });
  }

  const ineffective = [
    "network: auto",
    "release_pace: 1",
    "protocol: raw",
    "hold: auto",
    "wake_on: connect",
    "ftp: {}",
    "proxy_protocol: {}",
    "access: {}",
    "limits: {}",
    "banner: {}",
    "on_deny: reset",
    "monitors: 10.0.0.1",
    "udp: {}",
    "data: 1",
    "host: a.test",
    "sni: a.test",
  ];
  for (const setting of ineffective) {
    test(`is rejected once with ${setting}`, () => {
      const [key] = setting.split(":");
      assert.deepEqual(problems(`${web}, a: { container: a, with: [web], ${setting} }`), [
        `service "a": "${key}" has no effect without "ports" | remove it, or add "ports"`,
      ]);
    });
  }

  test("is rejected if its process listens", () => {
    for (const setting of ["listen: '127.0.0.1:1'", "activation: listen_fds"]) {
      const [problem = "", ...more] = problems(`${web}, a: { process: { command: [a], ${setting} }, with: [web] }`);
      assert.match(problem, /^service "a": "(listen|activation)" has no effect without "ports"/);
      assert.deepEqual(more, []);
    }
  });

  test("is rejected with a probe that connects", () => {
    for (const ready of ["tcp", "{ http: / }", "{ banner: a }"]) {
      const [problem = ""] = problems(`${web}, a: { container: a, with: [web], ready: ${ready} }`);
      assert.match(problem, /"ready: (tcp|http|banner)" connects to a TCP port, and it has no "ports"/);
    }
  });
});

test("a service without ports has no network, and no conflict with services of the same container", () => {
  const [more, dialed] = ["more: { container: web, with: [api] }", "web: { ports: 1, container: web, network: back }"];
  assert.deepEqual(problems(`${dialed}, api: { ports: 2, container: api }, ${more}`), []);
});

suite("a service without ports is woken", () => {
  const valid: Readonly<Record<string, string>> = {
    "a service in its with": "a: { container: a, with: [web] }",
    "one service of several": "off: { container: off, with: [web] }, a: { container: a, with: [off] }",
    "a service that depends on it": "b: { ports: 2, container: b, depends_on: [a] }, a: { container: a }",
    "a member of its group": "b: { ports: 2, container: b, group: g }, a: { container: a, group: g }",
    "a chain of all of these":
      "b: { ports: 2, container: b, depends_on: [c] }, c: { container: c, group: g }, d: { container: d, group: g }, a: { container: a, with: [d] }",
  };
  for (const [what, services] of Object.entries(valid)) {
    test(`by ${what}`, () => assert.deepEqual(problems(`${web}, ${services}`), []));
  }

  const remedies =
    'add "with: [SERVICE]" to wake it with another service, "group: NAME" to wake and sleep with several, or "ports" for clients';
  const invalid: Readonly<Record<string, readonly [services: string, ...problems: string[]]>> = {
    nothing: ["a: { container: a }", `service "a" has no "ports", and nothing wakes it | ${remedies}`],
    "nothing, next to another problem": [
      "b: { ports: [] , container: b }, a: { container: a }",
      '"ports" of service "b" is an empty list',
      `service "a" has no "ports", and nothing wakes it | ${remedies}`,
    ],
    "a group without ports": [
      "a: { container: a, group: g }, b: { container: b, group: g }",
      'nothing wakes service "a": no service of group "g" is woken by clients | one of them needs "ports"',
      'nothing wakes service "b": no service of group "g" is woken by clients | one of them needs "ports"',
    ],
    "a service that does not exist": [
      "a: { container: a, with: [wev] }",
      'service "a" is woken with "wev", which does not exist | did you mean "web"?',
    ],
    "an invalid service": [
      "b: { ports: [], container: b }, a: { container: a, with: [b] }",
      '"ports" of service "b" is an empty list',
    ],
    "a disabled service": [
      "b: { ports: 2, container: b, enabled: false }, a: { container: a, with: [b, web] }",
      'service "a" is woken with "b", which is disabled | enable "b", or write "enabled: false" here as well',
    ],
    "a service that starts no target": [
      "b: { ports: 2, builtin: echo }, a: { container: a, with: [b, web] }",
      'service "a" is woken with "b", which starts no target | name a service with a container or a process',
    ],
    itself: [
      "a: { ports: 2, container: a, with: [a] }",
      'service "a" names itself in "with" | name the services that wake it, or write "group: NAME" in all of them',
    ],
    "a cycle": [
      "a: { container: a, with: [b, web] }, b: { container: b, with: [a] }",
      '"with" forms a cycle: a → b → a | to wake services with each other write "group: NAME" in all of them',
    ],
  };
  for (const [what, [services, ...expected]] of Object.entries(invalid)) {
    test(`not by ${what}`, () => assert.deepEqual(problems(`${web}, ${services}`), expected));
  }

  test("a disabled service may stay unwoken", () => {
    assert.deepEqual(problems(`${web}, a: { container: a, enabled: false }`), []);
  });
});
