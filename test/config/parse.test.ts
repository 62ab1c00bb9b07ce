/** What is wrong with a file is told all at once, each problem with its place and a way out. */
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

/** The message of the ConfigError, one problem a line: places, messages and hints without the excerpts' text. */
function complaints(text: string | Uint8Array): string {
  try {
    parse(text);
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error.message;
  }
  assert.fail("the file was accepted");
}

const service = (more: string): string =>
  `services:\n  a: { ports: [2121], container: c${more === "" ? "" : `, ${more}`} }\n`;

/** A file, and what its complaint must say. */
const bad: Readonly<Record<string, readonly [text: string | Uint8Array, ...expected: RegExp[]]>> = {
  "a forward that sleeps": [
    "services: { a: { ports: 1, forward: 'h:2', idle_timeout: 5m, sleep: kill } }\n",
    /1:44 error: service "a": "idle_timeout" has no meaning for a target of the kind "forward"[\s\S]*remove it/,
    /"sleep" has no meaning/,
  ],
  "a forward without a port": [
    "services: { a: { ports: 1, forward: host } }\n",
    /"host" has no port: write "host:9000"/,
  ],
  "a forward's port in two places": [
    "services: { a: { ports: '1:2', forward: 'h:3' } }\n",
    /a target of the kind "forward" has no ports to choose from[\s\S]*write only where to listen: "1"/,
  ],
  "a builtin that nobody knows": ["services: { a: { ports: 1, builtin: echoo } }\n", /did you mean "echo"/],
  "a builtin with dependencies": [
    "services: { a: { ports: 1, builtin: echo, depends_on: [b] }, b: { ports: 2, container: c } }\n",
    /a target of the kind "builtin" is not started, so it depends on nothing/,
  ],
  "a forward to its own front": [
    "services: { a: { ports: 1, forward: 'localhost:1' } }\n",
    /port 1 is wakeport's own front, and would be passed on to itself without end/,
  ],
  "more held datagrams than fit into memory": [
    "services: { a: { ports: 53/udp, container: c, udp: { held: 99999g } } }\n",
    /may fill the memory[\s\S]*lower "udp\.flows" or "udp\.held"/,
  ],
  "a dependency on a forward": [
    "services: { a: { ports: 1, container: c, depends_on: [b] }, b: { ports: 2, forward: 'h:2' } }\n",
    /service "a" depends on "b", which has nothing to start/,
  ],
  "an empty file": ["", /^w\.yaml error: the file is empty/],
  "a file of comments": ["# nothing\n", /the file is empty/],
  "a list": ["- a\n", /the file is a list: expected a mapping/],
  "a word": ["hello", /w\.yaml:1:1 error: the file is "hello": expected a mapping/],
  "bytes that are no UTF-8": [Uint8Array.of(0x61, 0xff), /not UTF-8/],
  "a file beyond all bounds": ["x".repeat(300_000), /300000 bytes; at most 262144/],
  "a tab": ["services:\n\ta: 1\n", /w\.yaml:2:1 error: Tabs[\s\S]*indent with spaces/],
  "a key twice": ["services:\n  a: {}\n  a: {}\n", /w\.yaml:3:3 error: the key "a" is there twice/],
  "two documents": ["a: 1\n---\nb: 2\n", /w\.yaml:2:1 error: the file holds several documents/],
  "an unclosed list": ["services: {a: {ports: [1,\n", /w\.yaml:2:1 error/],
  "an alias without an anchor": ["services: *x\n", /w\.yaml:1:11 error: there is no anchor "&x"/],
  "an unknown tag": ["services: !!foo 1\n", /w\.yaml:1:11 error: Unresolved tag/],
  "aliases that multiply": [
    "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c]\n",
    /alias/i,
  ],
  "no services": ["admin: {}\n", /there is no service/],
  "no service": ["services: {}\n", /there is no service/],
  "a service at the top": [
    "ftp:\n  ports: 21\n  container: x\n",
    /unknown key "ftp"[\s\S]*services go under "services:"/,
  ],
  "an unknown key at the top": [
    `adminn: {}\n${service("")}`,
    /w\.yaml:1:1 error: unknown key "adminn"[\s\S]*did you mean "admin"/,
  ],
  "an unknown key in a service": [
    service("idle_timout: 5m"),
    /w\.yaml:2:37 error: unknown key "idle_timout" in service "a"[\s\S]*\^{11} did you mean "idle_timeout"\?/,
  ],
  "a key of a section at the top": [
    `discover: true\n${service("")}`,
    /unknown key "discover" in the file[\s\S]*it belongs in "docker"/,
  ],
  "a key of compose for the container's name": [
    "services: { a: { ports: 1, container_name: web } }",
    /unknown key "container_name"[\s\S]*here that is container: NAME/,
  ],
  "services as a list": ["services:\n  - a: { ports: 1 }\n", /is a list: expected a mapping[\s\S]*NAME: \{ … \}/],
  "a dependency in the long form of compose": [
    service("depends_on: { db: { condition: service_healthy } }"),
    /is a mapping: expected a list[\s\S]*write a list: \[db\]/,
  ],
  "a name in place of a list of names": [
    service("with: web"),
    /"with" of service "a" is "web": expected a list[\s\S]*write a list: \[web\]/,
  ],
  "a port in the long form of compose": [
    "services: { a: { ports: [{ target: 53, published: 5353, protocol: udp, host_ip: 127.0.0.1 }], container: x } }",
    /is a mapping: expected a number or text[\s\S]*write "127\.0\.0\.1:5353:53\/udp"/,
  ],
  "a path as readiness": [service("ready: /health"), /is "\/health"[\s\S]*write \{ http: \/health \}/],
  "a colon without a blank": [
    "services:\n  a:\n    ports: 1\n    container:x\n",
    /w\.yaml:4:5 error[\s\S]*write a blank after the colon/,
  ],
  "a key with a dash": [service("idle-timeout: 5m"), /did you mean "idle_timeout"/],
  "an unknown key in a process": [
    "services: { a: { ports: '1:2', process: { comand: [x] } } }",
    /unknown key "comand" in "process" of service "a"[\s\S]*did you mean "command"/,
  ],
  "an unknown key in log": [
    `log: { levl: info }\n${service("")}`,
    /unknown key "levl" in "log"[\s\S]*did you mean "level"/,
  ],
  "a key of another section": [service("rate: 50/s"), /unknown key "rate" in service "a"[\s\S]*it belongs in "limits"/],
  "a key of another section, of several": [
    service("user: ftp"),
    /unknown key "user"[\s\S]*it belongs to the container: leave it in the compose file/,
  ],
  "a key of another section, in a section": [
    service("access: { rate: 50/s }"),
    /unknown key "rate" in "access" of service "a"[\s\S]*it belongs in "limits"/,
  ],
  "a key of the service in a section": [
    service("limits: { on_deny: close }"),
    /unknown key "on_deny" in "limits"[\s\S]*it stands beside "limits", not in it/,
  ],
  "a key of another section in the defaults": [
    "defaults: { allow: [10.0.0.1] }",
    /unknown key "allow"[\s\S]*it belongs in "access"/,
  ],
  "a word of xinetd": [
    service("only_from: [10.0.0.1]"),
    /unknown key "only_from"[\s\S]*here that is access: \{ allow: \[…\] \}/,
  ],
  "a word of xinetd in a section": [
    service("limits: { instances: 5 }"),
    /unknown key "instances"[\s\S]*here that is limits: \{ connections: … \}/,
  ],
  "a container's name as a key": ["services: { a: { ports: 1, container: { name: x } } }", /container: NAME/],
  "addresses in one text": [service("access: { deny: '10.0.0.1, 10.0.0.2' }"), /of several write a list/],
  "a number in quotes": [
    service("limits: { connections: '50' }"),
    /expected a number[\s\S]*without quotes it is a number: 50/,
  ],
  "no limit as a word": [service("limits: { per_source: unlimited }"), /expected a number[\s\S]*leave it out/],
  "a boolean of old": [service("enabled: no"), /expected true or false[\s\S]*write false/],
  "a section as text": [service("banner: hello"), /expected a mapping[\s\S]*its keys: connect, accept, deny/],
  "variables as a list": [
    "services: { a: { ports: 1, inetd: { command: [x], env: [A=b] } } }",
    /expected a mapping[\s\S]*write it as \{ NAME: value \}/,
  ],
  "a banner of digits": [
    service("banner: { connect: 421 }"),
    /expected text or a mapping[\s\S]*in quotes it is text: "421"/,
  ],
  "a banner's file as text": [
    service("banner: { connect: /etc/banner }"),
    /"\/etc\/banner" is a text here; for that file write \{ file: \/etc\/banner \}/,
  ],
  "a ban for ever": ["services: { a: { ports: 1, sensor: { ban: forever } } }", /the longest is "576h"/],
  "a umask as a number": [
    "services: { a: { ports: 1, inetd: { command: [x], umask: 22 } } }",
    /octal, in quotes: "022"/,
  ],
  "no limit as -1": [
    "services: { a: { ports: 1, inetd: { command: [x], rlimits: { as: -1 } } } }",
    /"-1" is no limit: write "unlimited"/,
  ],
  "a range with blanks": [
    "services: { a: { ports: ['30000 - 30009'], container: c } }",
    /write a range without blanks: "30000-30009"/,
  ],
  "ports in one text": ["services: { a: { ports: '21, 22', container: c } }", /of several ports write a list/],
  "a path instead of a port": ["services: { a: { ports: 'unix:/run/x', container: c } }", /on ports, not on paths/],
  "a protocol misspelt": ["services: { a: { ports: 53/upd, container: c } }", /write "53" or "53\/udp"/],
  "an IPv6 address without brackets": [
    "services: { a: { ports: '::1:21', container: c } }",
    /in brackets: "\[::1\]:21"/,
  ],
  "a forward to a port alone": [
    "services: { a: { ports: 1, forward: 8080 } }",
    /a host and a port: write "127\.0\.0\.1:8080"/,
  ],
  "a forward to a URL": ["services: { a: { ports: 1, forward: 'http://a.b:80/' } }", /is no address: write "a\.b:80"/],
  "a forward to a port's name": [
    "services: { a: { ports: 1, forward: 'a.b:http' } }",
    /"http" is no port: write its number/,
  ],
  "a forward to IPv6": ["services: { a: { ports: 1, forward: 'fd00::1' } }", /write "\[fd00::1\]:9000"/],
  "a service in defaults": [
    `defaults: { a: { idle_timeout: 3m } }\n${service("")}`,
    /unknown key "a" in "defaults"[\s\S]*put "a" under "services"/,
  ],
  "ports in defaults": [`defaults: { ports: [1] }\n${service("")}`, /"ports" belongs to one service/],
  "a bad name": ["services: { 'a b': { ports: 1, container: c } }", /a service's name has letters/],
  "no ports": [
    "services: { a: { container: c } }",
    /service "a" has no "ports", and nothing wakes it[\s\S]*add "with: \[SERVICE\]" .*"group: NAME" .*"ports"/,
  ],
  "an empty list of ports": ["services: { a: { ports: [], container: c } }", /"ports" of service "a"/],
  "no target": [
    "services: { a: { ports: 1 } }",
    /service "a" needs a target[\s\S]*add one of "container:", "process:", "inetd:"/,
  ],
  "two targets": [
    "services: { a: { ports: '1:2', container: c, process: { command: [x] } } }",
    /has both "container" and "process": it leads to exactly one target/,
  ],
  "a container's name with a slash": [
    "services: { a: { ports: 1, container: ../x } }",
    /"container" of service "a": a name has/,
  ],
  "a command as text": ["services: { a: { ports: '1:2', process: { command: x y } } }", /the command is a list/],
  "a process of unknown port": [
    "services: { a: { ports: 1, process: { command: [x] } } }",
    /not said on which port the process listens[\s\S]*listen:/,
  ],
  "a process on its own front": [
    "services: { a: { ports: 9000, process: { command: [x], listen: '127.0.0.1:9000' } } }",
    /port 9000 is wakeport's own front/,
  ],
  "a number as duration": [service("idle_timeout: 90"), /a duration has a unit: write "90s"/],
  "a word as duration": [service("idle_timeout: soon"), /"soon" is no duration/],
  days: [service("idle_timeout: 5d"), /write "120h"/],
  "a start_timeout of nothing": [service("start_timeout: 0s"), /with a start_timeout of 0 nothing can start/],
  "yes for true": [service("enabled: yes"), /"enabled" of service "a" is "yes": expected true or false/],
  "an unknown readiness": [service("ready: helthy"), /"helthy": expected[\s\S]*did you mean "healthy"/],
  "a readiness with a slip": [service("ready: [tcp, { htttp: / }]"), /unknown key "htttp"[\s\S]*did you mean "http"/],
  "a status without a path": [service("ready: { status: 204 }"), /"ready" of service "a" needs "http"/],
  "a status beside a banner": [
    service("ready: { banner: x, status: 204 }"),
    /unknown key "status" in "ready" of service "a"[\s\S]*not together with the other keys here/,
  ],
  "a status of a family": [service("ready: { http: /, status: 2xx }"), /"2xx" is no status: write "200-299"/],
  "a word as status": [service("ready: { http: /, status: ok }"), /"ok" is no status: write 204 or "200-399"/],
  "a status that no answer has": [
    service("ready: { http: /, status: 99 }"),
    /"ready.status" of service "a": "99": an answer's status is a number from 200 to 599/,
  ],
  "a range of statuses without an end": [service("ready: { http: /, status: 200-999 }"), /from 200 to 599/],
  "a range of statuses that is turned round": [
    service("ready: { http: /, status: 399-200 }"),
    /"399-200" ends before it begins: write "200-399"/,
  ],
  "a broken regular expression": [
    service("ready: { log: 'listening on (\\d+' }"),
    /w\.yaml:2:\d+ error: "ready.log" of service "a": "listening on \(\\d\+" is no regular expression: unterminated group/,
  ],
  "a regular expression between slashes": [
    service("ready: { log: /ready/i }"),
    /"\/ready\/i" has slashes around it[\s\S]*write '\(\?i:ready\)'/,
  ],
  "an empty regular expression": [service("ready: [{ log: '' }]"), /"ready.log" of service "a" is empty/],
  "a health check of a process": [
    "services: { a: { ports: '1:2', process: { command: [x] }, ready: healthy } }",
    /a process has no health check/,
  ],
  "a network for a process": [
    "services: { a: { ports: '1:2', process: { command: [x] }, network: n } }",
    /"network" has no meaning for a target of the kind "process"/,
  ],
  "a range of ports that is turned round": [
    "services: { a: { ports: 30009-30000, container: c } }",
    /w\.yaml:1:25 error: .*"30009-30000": a range begins with the lower port: write "30000-30009"/,
  ],
  "a range without an end": ["services: { a: { ports: '30000-', container: c } }", /"30000-": "30000-" is no port/],
  "a range beyond the last port": [
    "services: { a: { ports: 65530-65536, container: c } }",
    /a port is a number from 1 to 65535/,
  ],
  "a range of a name": [
    "services: { a: { ports: nobody-30000, container: c } }",
    /"nobody-30000" is no name of a port, and a range has numbers at both ends/,
  ],
  "a range that leads to a shorter one": [
    'services: { a: { ports: "30000-30009:40000-40008", container: c } }',
    /10 ports cannot lead to 9: the target's part would be "40000-40009"/,
  ],
  "a range that leads to one port": [
    'services: { a: { ports: "[::1]:30000-30009:21", container: c } }',
    /10 ports cannot lead to 1: the target's part would be "21-30"/,
  ],
  "a range that leads past the last port": [
    'services: { a: { ports: "30000-30009:65530-65535", container: c } }',
    /10 ports cannot lead to 6: let the range of the target begin lower/,
  ],
  "one port that leads to a range": [
    'services: { a: { ports: "21:30000-30009", container: c } }',
    /1 port cannot lead to 10: the target's part would be "30000"/,
  ],
  "a range of more ports than a service may have": [
    "services: { a: { ports: 1024-65535, container: c } }",
    /"1024-65535": these are 64512 ports, and a service has 1000 at most/,
  ],
  "more ports in all than a service may have": [
    "services: { a: { ports: [21, 30000-30999], container: c } }",
    /w\.yaml:1:18 error: service "a" has 1001 ports: 1000 are the most/,
  ],
  "a port that is within a range": [
    "services:\n  a: { ports: [21, 30000-30009], container: c }\n  b: { ports: [80, 30005-30015], container: d }\n",
    /w\.yaml:3:20 error: service "b": port 30005 is taken by service "a" already/,
  ],
  "ranges of one service that overlap": [
    "services: { a: { ports: [30000-30009, 30009/tcp], container: c } }",
    /w\.yaml:1:39 error: service "a": port 30009 is taken by service "a" already/,
  ],
  "the admin server's port within a range": [
    "services: { a: { ports: 9460-9469, container: c } }",
    /port 9464 is taken by the admin server already/,
  ],
  "a range where its process has to listen itself": [
    'services: { a: { ports: ["2121:21", "30000-30009:30009-30018"], process: { command: [x] } } }',
    /port 30009 is wakeport's own front, so the process cannot listen there[\s\S]*another address/,
  ],
  "a range that is forwarded to one of its own ports": [
    'services: { a: { ports: 30000-30009, forward: "127.0.0.1:30004" } }',
    /port 30004 is wakeport's own front, and would be passed on to itself/,
  ],
  "a protocol that is not served": ["services: { a: { ports: 53/sctp, container: c } }", /the protocol is tcp or udp/],
  "the same front twice": [
    "services:\n  a: { ports: 2121, container: c }\n  b: { ports: '127.0.0.1:2121', container: d }\n",
    /w\.yaml:3:15 error: service "b": port 2121 is taken by service "a" already/,
  ],
  "the admin server's port": ["services: { a: { ports: 9464, container: c } }", /taken by the admin server already/],
  "one container over two networks": [
    "services: { a: { ports: 1, container: c, network: n }, b: { ports: 2, container: c } }",
    /wake the same container, but over different networks/,
  ],
  "two processes on one port": [
    "services: { a: { ports: '1:9', process: { command: [x] } }, b: { ports: '2:9', process: { command: [x] } } }",
    /processes that both listen on 127\.0\.0\.1:9/,
  ],
  "a variable that is not set": [
    "services: { a: { ports: 1, container: '${NOPE}' } }",
    /w\.yaml:1:39 error: variable "NOPE" is not set[\s\S]*\$\{NOPE:-…\}/,
  ],
  "a variable without quotes between braces": [
    "services: { a: { ports: 1, container: ${NAME} } }",
    /w\.yaml:1:40 error[\s\S]*between braces a variable needs quotes/,
  ],
  "half a variable": ["services: { a: { ports: 1, container: 'x${' } }", /cannot read "\$\{" here/],
};

suite("parseConfig()", () => {
  for (const [what, [text, ...expected]] of Object.entries(bad)) {
    test(`refuses ${what}`, () => {
      for (const pattern of expected) assert.match(complaints(text), pattern);
    });
  }

  test("names every problem at once, in the order of the file, and counts them", () => {
    const text = `services:
  a: { ports: 1, container: c, idle_timout: 5m }
  b: { ports: 2 }
  c: { ports: [3, 9464], container: d }
log: { level: loud }
`;
    const places = complaints(text)
      .split("\n")
      .filter((line) => line.startsWith("w.yaml"));
    assert.deepEqual(
      places.map((line) => line.replace(/ error:.*/, "")),
      ["w.yaml:2:32", "w.yaml:3:3", "w.yaml:4:19", "w.yaml:5:15", "w.yaml: 4 problems"],
    );
  });

  test("an unset variable is one problem, whatever its place should have held", () => {
    assert.equal(complaints("services: { a: { ports: '${NOPE}', container: c } }").match(/ error: /g)?.length, 1);
  });

  test("takes defaults where a service is silent, and built-in values where both are", () => {
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

  test("reads every kind of readiness; statuses are a number or a range, from 200 to 399 by default", () => {
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

  test("infers the target's port: the same for a container, where it listens for a process", () => {
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

  test("puts variables into values, never structure", () => {
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

  test("gives docker.project to containers that name only their service", () => {
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

  test("takes WAKEPORT_ADMIN_LISTEN's address only where the file is silent", () => {
    assert.deepEqual(parse(service("")).admin, { host: "127.0.0.1", port: 9464 });
    assert.deepEqual(parse(`admin: { listen: "[::1]:7" }\n${service("")}`).admin, { host: "::1", port: 7 });
  });

  test("a prototype's name is no way in", () => {
    assert.throws(() => parse("services: { __proto__: { ports: 1, container: c } }"), ConfigError);
    assert.throws(
      () => parse("services: { a: { ports: 1, container: c, constructor: 1 } }"),
      /unknown key "constructor"/,
    );
  });

  test("throws nothing but ConfigError, whatever the text", () => {
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
