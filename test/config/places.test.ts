/** Each mistake is told once, in these words, at this place. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { parseConfig } from "../../src/config/parse.ts";
import { ConfigError } from "../../src/config/yaml/config-error.ts";

const context = { env: { SET: "x" }, adminListen: { host: "127.0.0.1", port: 9464 } };

/** A file that is right, to which a test adds what is wrong: its line 5 and on. */
const ftp = `services:
  ftp:
    ports: ["2121:21"]
    container: vsftpd
`;

function errorOf(text: string | Uint8Array): ConfigError {
  try {
    parseConfig(typeof text === "string" ? Buffer.from(text) : text, "w.yaml", context);
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error;
  }
  assert.fail("the file was accepted");
}

/** `line:column message | hint`, one a problem. */
function told(text: string): string[] {
  return errorOf(text).problems.map(({ span, message, hint }) => {
    const before = span === undefined ? undefined : text.slice(0, span.start).split("\n");
    const at = before === undefined ? "" : `${before.length}:${before.at(-1)!.length + 1} `;
    return `${at}${message}${hint === undefined ? "" : ` | ${hint}`}`;
  });
}

const anEmptyFile = 'the file is empty | it needs at least "services:" with one service';
const allServiceKeys = "see compose/wakeport.reference.yaml, or wakeport schema, for all keys";

const cases: Readonly<Record<string, readonly [text: string, ...told: string[]]>> = {
  "no text": ["", anEmptyFile],
  "comments only": ["# services:\n#   ftp:\n", anEmptyFile],
  "a null": ["null\n", "1:1 the file is empty: expected a mapping"],
  "a list": ["- ftp\n", "the file is a list: expected a mapping"],
  "several documents": [
    `${ftp}---\n${ftp}`,
    '5:1 the file holds several documents; only one is read | remove the "---" and what follows',
  ],
  "tabs, on every line": [
    "services:\n\tftp:\n\t\tports: 1\n",
    "2:1 Tabs are not allowed as indentation | indent with spaces",
    "3:1 Tabs are not allowed as indentation | indent with spaces",
  ],
  "a key twice at the top": [`${ftp}services: {}\n`, '5:1 the key "services" is there twice'],
  "a key twice in a service": [`${ftp}    ports: [1]\n`, '5:5 the key "ports" is there twice'],
  "a key twice, once in quotes": [`${ftp}    "ports": [1]\n`, '5:5 the key "ports" is there twice'],
  "a list as a key": [`${ftp}? [a, b]\n: 1\n`, "5:3 a key has to be text"],
  "a key that JavaScript keeps for itself": [
    `${ftp}  __proto__: { ports: 1, container: c }\n`,
    '5:3 "__proto__" cannot be a key',
  ],
  "a tag that makes something else of a mapping": [
    "services: !!set { ftp }\n",
    "1:11 Unresolved tag: tag:yaml.org,2002:set",
  ],
  "an alias of nothing": [
    "services: *ftp\n",
    '1:11 there is no anchor "&ftp" before this alias | if the "*" is part of a name, it needs quotes: "*ftp"',
  ],
  "an alias before its anchor": [
    "a: *x\nb: &x 1\n",
    '1:4 there is no anchor "&x" before this alias | if the "*" is part of a name, it needs quotes: "*x"',
  ],
  "a name with a star, without quotes": [
    `${ftp}    host: [a.test, *.a.test]\n`,
    '5:20 there is no anchor "&.a.test" before this alias | if the "*" is part of a name, it needs quotes: "*.a.test"',
  ],
  "a public address with a port": [
    `${ftp}    protocol: ftp\n    ftp: { public_address: "203.0.113.5:21" }\n`,
    '6:28 "ftp.public_address" of service "ftp": an address alone is told here: write "203.0.113.5"',
  ],
  "a public address that is a name": [
    `${ftp}    protocol: ftp\n    ftp: { public_address: ftp.example.org }\n`,
    '6:28 "ftp.public_address" of service "ftp": PASV tells clients an IPv4 address: write one that they know, like "203.0.113.5"',
  ],
  "a public address of IPv6": [
    `${ftp}    protocol: ftp\n    ftp: { public_address: "2001:db8::1" }\n`,
    '6:28 "ftp.public_address" of service "ftp": PASV tells clients an IPv4 address: write one that they know, like "203.0.113.5"; those of IPv6 use EPSV, which needs none',
  ],
  "a public address of nobody": [
    `${ftp}    protocol: ftp\n    ftp: { public_address: 255.255.255.255 }\n`,
    '6:28 "ftp.public_address" of service "ftp": 255.255.255.255 is nowhere that clients could connect to: write the address that they know',
  ],
  "what others call it": [
    `${ftp}    data_ports: 30000-30009\n    timeout: 5m\n`,
    '5:5 unknown key "data_ports" in service "ftp" | here that is data: ["30000-30009"]',
    '6:5 unknown key "timeout" in service "ftp" | here that is "idle_timeout" or "start_timeout"',
  ],
  "true, where names are wanted": [
    `${ftp}    host: true\n`,
    '5:11 "host" of service "ftp" is true: expected text or a list',
  ],
  "a star without quotes": [
    `${ftp}    host: *\n`,
    '5:11 Alias cannot be an empty string | if the "*" is part of a name, it needs quotes: "*"',
  ],
  "more than 100 aliases": [`a: &x 1\nb: [${Array(101).fill("*x").join()}]\n`, "2:305 more than 100 aliases"],
  "aliases that multiply": [
    `a: &a [1,1,1,1,1,1,1,1,1]
b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]
c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]
d: [*c,*c,*c,*c,*c,*c,*c,*c,*c]
`,
    "Excessive alias count indicates a resource exhaustion attack | aliases may not multiply",
  ],
  "a setting of services at the top": [
    `${ftp}hold: page\n`,
    '5:1 unknown key "hold" in the file | it belongs in a service: services: { NAME: { hold: … } }, or in "defaults" for all',
  ],
  "what one service says, at the top": [
    `${ftp}host: app.test\n`,
    '5:1 unknown key "host" in the file | it belongs in a service: services: { NAME: { host: … } }',
  ],
  "an unknown key at the top": [`${ftp}dockr: {}\n`, '5:1 unknown key "dockr" in the file | did you mean "docker"?'],
  "an unknown key in admin": [
    `${ftp}admin: { lisen: x }\n`,
    '5:10 unknown key "lisen" in "admin" | did you mean "listen"?',
  ],
  "an unknown key in docker": [
    `${ftp}docker: { hst: x }\n`,
    '5:11 unknown key "hst" in "docker" | did you mean "host"?',
  ],
  "an unknown key in log": [`${ftp}log: { lvel: x }\n`, '5:8 unknown key "lvel" in "log" | did you mean "level"?'],
  "an unknown key in shutdown": [
    `${ftp}shutdown: { target: stop }\n`,
    '5:13 unknown key "target" in "shutdown" | did you mean "targets"?',
  ],
  "an unknown key in defaults": [
    `${ftp}defaults: { idle: 5m }\n`,
    `5:13 unknown key "idle" in "defaults" | ${allServiceKeys}`,
  ],
  "an unknown key in limits": [
    `${ftp}    limits: { wating: 5 }\n`,
    '5:15 unknown key "wating" in "limits" of service "ftp" | did you mean "waiting"?',
  ],
  "an unknown key in container": [
    "services:\n  a:\n    ports: [1]\n    container: { service: a, projct: b }\n",
    '4:30 unknown key "projct" in "container" of service "a" | did you mean "project"?',
  ],
  "keys of compose": [
    `${ftp}    restart: always\n    volumes: [a:b]\n    image: vsftpd\n    stop_grace_period: 1s\n`,
    '5:5 unknown key "restart" in service "ftp" | set restart: "no" (unless-stopped works too) at the container, in the compose file',
    '6:5 unknown key "volumes" in service "ftp" | it belongs to the container: leave it in the compose file',
    '7:5 unknown key "image" in service "ftp" | it belongs to the container: leave it in the compose file',
    '8:5 unknown key "stop_grace_period" in service "ftp" | here that is stop_grace: 30s',
  ],
  "what services have in common, beside what is wrong with each": [
    `services:
  web: { ports: ["8080:80"], container: web, restart: always, depends_on: [dbb] }
  api: { ports: ["8080:81"], container: api, idle_timeout: soon, depends_on: [db] }
  db: { ports: [5432], contaner: db }
  cache: { ports: ["5432"], container: { nam: cache } }
  one: { ports: ["90:80"], container: c, hots: a.test }
  two: { ports: ["90:80"], container: c, host: b.test }
`,
    '2:46 unknown key "restart" in service "web" | set restart: "no" (unless-stopped works too) at the container, in the compose file',
    '2:76 service "web" depends on "dbb", which does not exist | did you mean "db"?',
    '3:18 service "api": port 8080 is taken by service "web" already | each front port can be bound once; services share one by "host" (HTTP) or "sni" (TLS)',
    '3:60 "idle_timeout" of service "api": "soon" is no duration: write it like "500ms", "90s", "5m" or "1h30m"',
    '4:24 unknown key "contaner" in service "db" | did you mean "container"?',
    '5:20 service "cache": port 5432 is taken by service "db" already | each front port can be bound once; services share one by "host" (HTTP) or "sni" (TLS)',
    '5:42 unknown key "nam" in "container" of service "cache" | known here: service, project, image, command, env, volumes, networks, user, memory, cpus, labels, remove',
    '6:42 unknown key "hots" in service "one" | did you mean "host"?',
  ],
  "an unknown key like nothing": [
    `${ftp}    supercalifragilistic: 5m\n`,
    `5:5 unknown key "supercalifragilistic" in service "ftp" | ${allServiceKeys}`,
  ],
  "an unknown key that every object has": [
    `${ftp}    constructor: 5m\n`,
    `5:5 unknown key "constructor" in service "ftp" | ${allServiceKeys}`,
  ],
  "an unknown key in a service with the name of what every object has": [
    "services:\n  constructor: { ports: [1], contaner: c }\n",
    '2:30 unknown key "contaner" in service "constructor" | did you mean "container"?',
  ],
  "an unknown key in a service whose name is a number": [
    "services:\n  8080: { ports: [1], container: c, port: 1 }\n",
    '2:37 unknown key "port" in service "8080" | did you mean "ports"?',
  ],
  "a service at the top": [
    'web:\n  ports: ["1"]\n  container: c\n',
    '1:1 unknown key "web" in the file | services go under "services:"',
  ],
  "a service's name in defaults": [
    `defaults:\n  files: { idle_timeout: 1m }\n${ftp.replace("ftp:", "files:")}`,
    '2:3 unknown key "files" in "defaults" | "defaults" holds settings, not services: put "files" under "services"',
  ],
  "settings of a protocol that is not spoken": [
    `${ftp}    ftp: { public_address: 203.0.113.5 }\n`,
    '5:5 service "ftp": "ftp" has no meaning for the protocol "raw" | add "protocol: ftp", or remove it',
  ],
  "a public address that is none": [
    `${ftp}    protocol: ftp\n    ftp: { public_address: 0.0.0.0 }\n`,
    '6:28 "ftp.public_address" of service "ftp": 0.0.0.0 is nowhere that clients could connect to: write the address that they know',
  ],
  "ports in defaults": [
    `defaults:\n  ports: [1]\n${ftp}`,
    '2:3 unknown key "ports" in "defaults" | "ports" belongs to one service: it cannot have a default',
  ],
  "services that are empty": [
    "services:\n",
    '1:10 "services" is empty: expected a mapping | write each service under its name: NAME: { … }',
  ],
  "services in a list": [
    "services: [ftp]\n",
    '1:1 "services" is a list: expected a mapping | write each service under its name: NAME: { … }',
  ],
  "a service that is empty": ["services:\n  ftp:\n", '2:7 service "ftp" is empty: expected a mapping'],
  "a service that is text": ["services:\n  ftp: vsftpd\n", '2:8 service "ftp" is "vsftpd": expected a mapping'],
  "a service's name with a slash": [
    "services:\n  a/b: { ports: [1], container: c }\n",
    `2:3 service "a/b": a service's name has letters, digits, dots, dashes and underscores`,
  ],
  "ports that are a mapping": [
    "services:\n  a:\n    ports: { a: 1 }\n    container: c\n",
    '3:5 "ports" of service "a" is a mapping: expected a number, text or a list',
  ],
  "no ports in the list": [
    "services:\n  a:\n    ports: []\n    container: c\n",
    '3:5 "ports" of service "a" is an empty list',
  ],
  "a port beyond the last": [
    'services:\n  a:\n    ports: [80, "81:65536"]\n    container: c\n',
    '3:17 "ports" of service "a": "81:65536": a port is a number from 1 to 65535',
  ],
  "a container by number": [
    "services:\n  a:\n    ports: [80]\n    container: 5\n",
    '4:16 "container" of service "a" is 5: expected text or a mapping | in quotes it is text: "5"',
  ],
  "a container of no service": [
    "services:\n  a:\n    ports: [80]\n    container: { project: p }\n",
    '4:5 "container" of service "a" needs "service"',
  ],
  "a container's name with a slash": [
    "services:\n  a:\n    ports: [80]\n    container: library/redis\n",
    '4:16 "container" of service "a": a name has letters, digits, dots, dashes and underscores, and starts with a letter or digit',
  ],
  "a command without a word": [
    "services:\n  a:\n    ports: ['80:81']\n    process: { command: [] }\n",
    '4:16 "process.command" of service "a" is an empty list',
  ],
  "a command with a number": [
    "services:\n  a:\n    ports: ['80:81']\n    process: { command: [sleep, 5] }\n",
    '4:33 "process.command" of service "a" is 5: expected text | in quotes it is text: "5"',
  ],
  "a readiness with a slip in its key": [
    `${ftp}    ready: { baner: "220" }\n`,
    '5:14 unknown key "baner" in "ready" of service "ftp" | did you mean "banner"?',
  ],
  "a readiness of two kinds": [
    `${ftp}    ready: { banner: "220", http: / }\n`,
    '5:29 unknown key "http" in "ready" of service "ftp" | not together with the other keys here',
  ],
  "a banner that is a number": [
    `${ftp}    ready: { banner: 220 }\n`,
    '5:22 "ready.banner" of service "ftp" is 220: expected text | in quotes it is text: "220"',
  ],
  "a path that is none": [
    `${ftp}    ready: { http: health }\n`,
    '5:20 "ready.http" of service "ftp": a path starts with "/" and has no spaces',
  ],
  "no readiness in the list": [`${ftp}    ready: []\n`, '5:5 "ready" of service "ftp" is an empty list'],
  "a number as a duration": [
    `${ftp}    idle_timeout: 5\n`,
    '5:19 "idle_timeout" of service "ftp": a duration has a unit: write "5s"',
  ],
  "a number as a duration in defaults": [
    `defaults:\n  stop_grace: 5\n${ftp}`,
    '2:15 "defaults.stop_grace": a duration has a unit: write "5s"',
  ],
  "no duration": [`${ftp}    idle_timeout:\n`, '5:18 "idle_timeout" of service "ftp" is empty: expected text'],
  "a pace of none": [`${ftp}    release_pace: 0\n`, '5:19 "release_pace" of service "ftp" is 0: expected at least 1'],
  "half a dial": [
    `${ftp}    release_pace: 1.5\n`,
    '5:19 "release_pace" of service "ftp" is 1.5: expected a whole number',
  ],
  "too much patience": [
    `${ftp}    limits: { waiting: 9999999 }\n`,
    '5:24 "limits.waiting" of service "ftp" is 9999999: expected at most 1000000',
  ],
  "an address that is none": [
    `${ftp}admin: { listen: here }\n`,
    '5:18 "admin.listen": "here" has no port: write "here:9000"',
  ],
  "one of a few words": [
    `${ftp}log: { level: loud, format: jsn }\n`,
    '5:15 "log.level" is "loud": expected "trace", "debug", "info", "warn", "error" or "silent"',
    '5:29 "log.format" is "jsn": expected "auto", "json", "pretty" or "xinetd" | did you mean "json"?',
  ],
  "the same front twice in one service": [
    'services:\n  a:\n    ports: ["80", "80:81"]\n    container: c\n',
    '3:19 service "a": port 80 is taken by service "a" already | each front port can be bound once',
  ],
  "the admin server's port, wherever that is": [
    `admin: { listen: "0.0.0.0:2121" }\n${ftp}`,
    '4:13 service "ftp": port 2121 is taken by the admin server already | each front port can be bound once',
  ],
  "variables that are not set": [
    'services:\n  a:\n    ports: ["${FRONT}:21"]\n    container: a-${NAME}-${SET}\n',
    '3:13 variable "FRONT" is not set | set it, or give a default: "${FRONT:-…}"',
    '4:16 variable "NAME" is not set | set it, or give a default: "${NAME:-…}"',
  ],
};

suite("parseConfig() tells of", () => {
  for (const [what, [text, ...expected]] of Object.entries(cases)) {
    test(what, () => assert.deepEqual(told(text), expected));
  }

  test("bytes that are no text, and too many of them", () => {
    assert.equal(
      errorOf(Uint8Array.of(0xff, 0xfe, 0x61)).message,
      "w.yaml error: the file is not UTF-8 text\n  save it as UTF-8\nw.yaml: 1 problem",
    );
    assert.equal(
      errorOf(new Uint8Array(262_145)).message,
      "w.yaml error: the file has 262145 bytes; at most 262144 are read\nw.yaml: 1 problem",
    );
  });

  test("mistakes everywhere, all at once", () => {
    const text = `services:
  a:
    ports: ["80x"]
    container: a/b
    idle_timeout: 5
  b:
    prts: 5
  c: { ports: ["81"], container: c }
  d: { ports: ["81"], container: d }
log: { level: loud }
`;
    assert.deepEqual(
      told(text).map((line) => line.split(" ", 1)[0]),
      ["3:13", "4:16", "5:19", "7:5", "9:16", "10:15"],
    );
  });
});

suite("ConfigError", () => {
  test("shows the line, with carets under the place, and counts", () => {
    assert.equal(
      errorOf(`${ftp}    idle_timout: 5m\n    enabled: maybe`).message,
      `w.yaml:5:5 error: unknown key "idle_timout" in service "ftp"
  5 |     idle_timout: 5m
    |     ^^^^^^^^^^^ did you mean "idle_timeout"?
w.yaml:6:14 error: "enabled" of service "ftp" is "maybe": expected true or false
  6 |     enabled: maybe
    |              ^^^^^
w.yaml: 2 problems`,
    );
  });

  test("shows the part of a long line around the place", () => {
    const line = `services: { ftp: { ports: [1], container: ${"x".repeat(300)}, idle_timout: 5m } }`;
    assert.equal(
      errorOf(line).message,
      `w.yaml:1:345 error: unknown key "idle_timout" in service "ftp"
  1 | …${"x".repeat(37)}, idle_timout: 5m } }
    | ${" ".repeat(40)}^^^^^^^^^^^ did you mean "idle_timeout"?
w.yaml: 1 problem`,
    );
  });

  test("lets nothing of the file move the cursor, or do worse to a terminal", () => {
    const { message } = errorOf("services: \u001b[31m\u0007\u202e\r\n");
    assert.doesNotMatch(message, /[^\P{Cc}\n]|\p{Cf}/u);
  });

  test("has the same place with CRLF as with LF", () => {
    const crlf = `${ftp}    idle_timout: 5m\n`.replaceAll("\n", "\r\n");
    assert.match(errorOf(crlf).message, /^w\.yaml:5:5 error/);
  });

  test("stays small, however much is wrong", () => {
    const keys = Array.from({ length: 4_000 }, (_, index) => `k${index}: 1`);
    const { message, problems } = errorOf(`{ ${keys.join(", ")} }`);
    assert.equal(problems.length, 4_000);
    assert.ok(message.length < 2_000_000, `${message.length} characters`);
  });
});

suite("parseConfig() of anything", () => {
  const word = fc.constantFrom(
    ...["services", "a", "b", "ports", "container", "process", "command", "listen", "env", "user", "service"],
    ...["project", "network", "ready", "banner", "http", "status", "idle_timeout", "limits", "waiting", "release_pace"],
    ...["defaults", "admin", "docker", "host", "log", "level", "shutdown", "targets", "drain", "__proto__", "toString"],
  );
  const value = fc.letrec((tie) => ({
    any: fc.oneof(
      { depthSize: "medium" },
      fc.constantFrom(
        1,
        0,
        -1,
        1.5,
        true,
        null,
        "",
        "tcp",
        "healthy",
        "5m",
        "80",
        "80:81",
        "127.0.0.1:80",
        "${X}",
        "/",
      ),
      fc.string(),
      fc.array(tie("any"), { maxLength: 3 }),
      fc.dictionary(word, tie("any"), { maxKeys: 4 }),
    ),
  })).any;
  const file = fc.record(
    { services: fc.dictionary(word, fc.dictionary(word, value, { maxKeys: 5 }), { maxKeys: 3 }), defaults: value },
    { requiredKeys: ["services"] },
  );

  test("throws nothing but ConfigError, whatever the content", () => {
    fc.assert(
      fc.property(fc.oneof(file, value), (content) => {
        try {
          parseConfig(Buffer.from(JSON.stringify(content)), "w.yaml", context);
        } catch (error) {
          assert.ok(error instanceof ConfigError, String(error));
        }
      }),
      { numRuns: 1_000 },
    );
  });
});
