/** Each problem is reported once, with its place, this message and this hint. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { parseConfig } from "../../src/config/parse.ts";
import { ConfigError } from "../../src/config/yaml/config-error.ts";

const context = { env: { SET: "x" }, adminListen: { host: "127.0.0.1", port: 9464 } };

/** A valid file. Tests append problems from line 5. */
const ftp = `services:
  ftp:
    ports: ["2121:21"]
    container: vsftpd
`;

/** A file with these keys of a service. */
function service(keys: string): string {
  return `services:\n  a: { ports: [2121], container: c, ${keys} }\n`;
}

function errorOf(content: string | Uint8Array): ConfigError {
  try {
    parseConfig(typeof content === "string" ? Buffer.from(content) : content, "w.yaml", context);
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error;
  }
  assert.fail("the file was accepted");
}

/** `line:column message | hint` of each problem. */
function problemsOf(text: string): string[] {
  return errorOf(text).problems.map(({ span, message, hint }) => {
    const before = span === undefined ? undefined : text.slice(0, span.start).split("\n");
    const at = before === undefined ? "" : `${before.length}:${before.at(-1)!.length + 1} `;
    return `${at}${message}${hint === undefined ? "" : ` | ${hint}`}`;
  });
}

const cases: Readonly<Record<string, readonly [text: string, ...problems: string[]]>> = {
  "an empty file": ["", 'the file is empty | write "services:" with at least one service'],
  "a file of comments": ["# services:\n#   ftp:\n", 'the file is empty | write "services:" with at least one service'],
  "a null": ["null\n", "1:1 the file is empty: expected a mapping"],
  "a list": ["- ftp\n", "the file is a list: expected a mapping"],
  "several documents": [
    `${ftp}---\n${ftp}`,
    '5:1 the file contains several documents; only one is allowed | remove the "---" and what follows',
  ],
  "tabs in each line": [
    "services:\n\tftp:\n\t\tports: 1\n",
    "2:1 tabs are not allowed as indentation | indent with spaces",
    "3:1 tabs are not allowed as indentation | indent with spaces",
  ],
  "a duplicate section": [`${ftp}services: {}\n`, '5:1 duplicate key "services"'],
  "a duplicate key": [`${ftp}    ports: [1]\n`, '5:5 duplicate key "ports"'],
  "a duplicate key in quotes": [`${ftp}    "ports": [1]\n`, '5:5 duplicate key "ports"'],
  "a list as a key": [`${ftp}? [a, b]\n: 1\n`, "5:3 a key must be text"],
  "the key __proto__": [`${ftp}  __proto__: { ports: 1, container: c }\n`, '5:3 "__proto__" cannot be a key'],
  "a tag": ["services: !!set { ftp }\n", "1:11 unresolved tag: tag:yaml.org,2002:set"],
  "an alias without an anchor": [
    "services: *ftp\n",
    '1:11 there is no anchor "&ftp" before this alias | if "*" is part of a name, write quotes: "*ftp"',
  ],
  "an alias before its anchor": [
    "a: *x\nb: &x 1\n",
    '1:4 there is no anchor "&x" before this alias | if "*" is part of a name, write quotes: "*x"',
  ],
  "a name pattern without quotes": [
    `${ftp}    host: [a.test, *.a.test]\n`,
    '5:20 there is no anchor "&.a.test" before this alias | if "*" is part of a name, write quotes: "*.a.test"',
  ],
  "a public address with a port": [
    `${ftp}    protocol: ftp\n    ftp: { public_address: "203.0.113.5:21" }\n`,
    '6:28 "ftp.public_address" of service "ftp": the address has no port or prefix: write "203.0.113.5"',
  ],
  "a public address that is a name": [
    `${ftp}    protocol: ftp\n    ftp: { public_address: ftp.example.org }\n`,
    '6:28 "ftp.public_address" of service "ftp": write the IPv4 address that clients use, for example "203.0.113.5"',
  ],
  "a public address of IPv6": [
    `${ftp}    protocol: ftp\n    ftp: { public_address: "2001:db8::1" }\n`,
    '6:28 "ftp.public_address" of service "ftp": write the IPv4 address that clients use, for example "203.0.113.5"; IPv6 clients use EPSV, which needs no address',
  ],
  "a broadcast address as public address": [
    `${ftp}    protocol: ftp\n    ftp: { public_address: 255.255.255.255 }\n`,
    '6:28 "ftp.public_address" of service "ftp": clients cannot connect to 255.255.255.255: write the address that they use',
  ],
  "keys of other programs": [
    `${ftp}    passive_ports: 30000-30009\n    timeout: 5m\n`,
    '5:5 unknown key "passive_ports" in service "ftp" | use data: ["30000-30009"]',
    '6:5 unknown key "timeout" in service "ftp" | use "idle_timeout" or "start_timeout"',
  ],
  "a boolean in place of a name": [
    `${ftp}    host: true\n`,
    '5:11 "host" of service "ftp" is true: expected text or a list',
  ],
  '"*" without quotes': [
    `${ftp}    host: *\n`,
    '5:11 alias cannot be an empty string | if "*" is part of a name, write quotes: "*"',
  ],
  "more than 100 aliases": [`a: &x 1\nb: [${Array(101).fill("*x").join()}]\n`, "2:305 more than 100 aliases"],
  "aliases that multiply": [
    "a: &a [1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n",
    "Excessive alias count indicates a resource exhaustion attack | use fewer aliases of aliases",
  ],
  "a key of services and defaults at the top level": [
    `${ftp}hold: page\n`,
    '5:1 unknown key "hold" in the file | write it in a service: services: { NAME: { hold: … } }, or in "defaults" for all',
  ],
  "a key of services at the top level": [
    `${ftp}host: app.test\n`,
    '5:1 unknown key "host" in the file | write it in a service: services: { NAME: { host: … } }',
  ],
  "an unknown section": [`${ftp}dockr: {}\n`, '5:1 unknown key "dockr" in the file | did you mean "docker"?'],
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
    '5:13 unknown key "idle" in "defaults" | see docs/configuration.md for all keys',
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
    '5:5 unknown key "restart" in service "ftp" | set restart: "no" or unless-stopped for the container, in the compose file',
    '6:5 unknown key "volumes" in service "ftp" | it belongs to the container: set it in the compose file',
    '7:5 unknown key "image" in service "ftp" | it belongs to the container: set it in the compose file',
    '8:5 unknown key "stop_grace_period" in service "ftp" | use stop_grace: 30s',
  ],
  "problems between services next to schema errors": [
    `services:
  web: { ports: ["8080:80"], container: web, restart: always, depends_on: [dbb] }
  api: { ports: ["8080:81"], container: api, idle_timeout: soon, depends_on: [db] }
  db: { ports: [5432], contaner: db }
  cache: { ports: ["5432"], container: { nam: cache } }
  one: { ports: ["90:80"], container: c, hosst: a.test }
  two: { ports: ["90:80"], container: c, host: b.test }
`,
    '2:46 unknown key "restart" in service "web" | set restart: "no" or unless-stopped for the container, in the compose file',
    '2:76 service "web" depends on "dbb", which does not exist | did you mean "db"?',
    '3:18 service "api": port 8080 is already in use by service "web" | each port can be bound once; services can share it by "host" (HTTP) or "sni" (TLS)',
    '3:60 "idle_timeout" of service "api": "soon" is not a duration: write it as "500ms", "90s", "5m" or "1h30m", at most "576h"',
    '4:24 unknown key "contaner" in service "db" | did you mean "container"?',
    '5:20 service "cache": port 5432 is already in use by service "db" | each port can be bound once; services can share it by "host" (HTTP) or "sni" (TLS)',
    '5:42 unknown key "nam" in "container" of service "cache" | known keys: service, project, image, command, env, volumes, networks, user, memory, cpus, labels, remove',
    '6:42 unknown key "hosst" in service "one" | did you mean "host"?',
  ],
  "an unknown key without a similar key": [
    `${ftp}    supercalifragilistic: 5m\n`,
    '5:5 unknown key "supercalifragilistic" in service "ftp" | see docs/configuration.md for all keys',
  ],
  "an unknown key that is a property of each object": [
    `${ftp}    constructor: 5m\n`,
    '5:5 unknown key "constructor" in service "ftp" | see docs/configuration.md for all keys',
  ],
  "an unknown key in a service with the name of a property of each object": [
    "services:\n  constructor: { ports: [1], contaner: c }\n",
    '2:30 unknown key "contaner" in service "constructor" | did you mean "container"?',
  ],
  "an unknown key in a service with a number as its name": [
    "services:\n  8080: { ports: [1], container: c, port: 1 }\n",
    '2:37 unknown key "port" in service "8080" | did you mean "ports"?',
  ],
  "a service at the top level": [
    `web:\n  ports: ["1"]\n  container: c\n`,
    '1:1 unknown key "web" in the file | write it below "services:", indented',
  ],
  "a service name in defaults": [
    `defaults:\n  files: { idle_timeout: 1m }\n${ftp.replace("ftp:", "files:")}`,
    '2:3 unknown key "files" in "defaults" | "defaults" contains settings: put service "files" under "services"',
  ],
  "settings of another protocol": [
    `${ftp}    ftp: { public_address: 203.0.113.5 }\n`,
    '5:5 service "ftp": "ftp" has no effect with "protocol: raw" | add "protocol: ftp", or remove it',
  ],
  "0.0.0.0 as public address": [
    `${ftp}    protocol: ftp\n    ftp: { public_address: 0.0.0.0 }\n`,
    '6:28 "ftp.public_address" of service "ftp": clients cannot connect to 0.0.0.0: write the address that they use',
  ],
  "ports in defaults": [
    `defaults:
  ports: [1]
${ftp}`,
    '2:3 unknown key "ports" in "defaults" | "ports" belongs to one service: it cannot have a default',
  ],
  "an empty section": [
    "services:\n",
    '1:10 "services" is empty: expected a mapping | write each service under its name: NAME: { … }',
  ],
  "services as a list": [
    "services: [ftp]\n",
    '1:1 "services" is a list: expected a mapping | write each service under its name: NAME: { … }',
  ],
  "an empty service": [
    "services:\n  ftp:\n",
    '2:7 service "ftp" is empty: expected a mapping | write its keys below it, indented further',
  ],
  "keys that are not indented below their service": [
    "services:\n  app:\n  ports: [1]\n  container: c\n",
    '2:7 service "app" is empty: expected a mapping | write its keys below it, indented further',
    '3:3 service "ports" is a list: expected a mapping | indent this key further than the name of its service',
    '4:14 service "container" is "c": expected a mapping | indent this key further than the name of its service',
  ],
  "a key that is indented too far": [
    "services:\n  app:\n    ports: [1]\n     container: c\n",
    "4:1 all mapping items must start at the same column | indent keys of the same level by the same number of spaces",
  ],
  "a service as text": ["services:\n  ftp: vsftpd\n", '2:8 service "ftp" is "vsftpd": expected a mapping'],
  "a service name with a slash": [
    "services:\n  a/b: { ports: [1], container: c }\n",
    `2:3 service "a/b": a service's name has letters, digits, dots, dashes and underscores`,
  ],
  "ports as a mapping": [
    "services:\n  a:\n    ports: { a: 1 }\n    container: c\n",
    '3:5 "ports" of service "a" is a mapping: expected a number, text or a list',
  ],
  "an empty list of ports": [
    "services:\n  a:\n    ports: []\n    container: c\n",
    '3:5 "ports" of service "a" is an empty list',
  ],
  "a port above 65535": [
    `services:\n  a:\n    ports: [80, "81:65536"]\n    container: c\n`,
    '3:17 "ports" of service "a": "81:65536": a port is a number from 1 to 65535',
  ],
  "a number as container": [
    "services:\n  a:\n    ports: [80]\n    container: 5\n",
    '4:16 "container" of service "a" is 5: expected text or a mapping | write it in quotes: "5"',
  ],
  "a container without a service": [
    "services:\n  a:\n    ports: [80]\n    container: { project: p }\n",
    '4:5 "container" of service "a" needs "service"',
  ],
  "a container name with a slash": [
    "services:\n  a:\n    ports: [80]\n    container: library/redis\n",
    '4:16 "container" of service "a": a name has letters, digits, dots, dashes and underscores, and starts with a letter or digit',
  ],
  "an empty command": [
    "services:\n  a:\n    ports: ['80:81']\n    process: { command: [] }\n",
    '4:16 "process.command" of service "a" is an empty list',
  ],
  "a command with a number": [
    "services:\n  a:\n    ports: ['80:81']\n    process: { command: [sleep, 5] }\n",
    '4:33 "process.command" of service "a" is 5: expected text | write it in quotes: "5"',
  ],
  "a misspelt probe": [
    `${ftp}    ready: { baner: "220" }\n`,
    '5:14 unknown key "baner" in "ready" of service "ftp" | did you mean "banner"?',
  ],
  "two probes in one mapping": [
    `${ftp}    ready: { banner: "220", http: / }\n`,
    '5:29 unknown key "http" in "ready" of service "ftp" | it cannot be combined with the other keys here',
  ],
  "a number as banner probe": [
    `${ftp}    ready: { banner: 220 }\n`,
    '5:22 "ready.banner" of service "ftp" is 220: expected text | write it in quotes: "220"',
  ],
  "a probe path without a slash": [
    `${ftp}    ready: { http: health }\n`,
    '5:20 "ready.http" of service "ftp": a path starts with "/" and has no spaces',
  ],
  "an empty list of probes": [`${ftp}    ready: []\n`, '5:5 "ready" of service "ftp" is an empty list'],
  "a number as a duration": [
    `${ftp}    idle_timeout: 5\n`,
    '5:19 "idle_timeout" of service "ftp": a duration has a unit: write "5s"',
  ],
  "a number as a duration in defaults": [
    `defaults:
  stop_grace: 5
${ftp}`,
    '2:15 "defaults.stop_grace": a duration has a unit: write "5s"',
  ],
  "an empty duration": [`${ftp}    idle_timeout:\n`, '5:18 "idle_timeout" of service "ftp" is empty: expected text'],
  "a release pace of 0": [
    `${ftp}    release_pace: 0\n`,
    '5:19 "release_pace" of service "ftp" is 0: expected at least 1',
  ],
  "a fraction as release pace": [
    `${ftp}    release_pace: 1.5\n`,
    '5:19 "release_pace" of service "ftp" is 1.5: expected a whole number',
  ],
  "a limit above the maximum": [
    `${ftp}    limits: { waiting: 9999999 }\n`,
    '5:24 "limits.waiting" of service "ftp" is 9999999: expected at most 1000000',
  ],
  "an address without a port": [
    `${ftp}admin: { listen: here }\n`,
    '5:18 "admin.listen": "here" is not an address: write host and port, for example "127.0.0.1:9000" or "[::1]:9000"',
  ],
  "values outside of an enumeration": [
    `${ftp}log: { level: loud, format: jsn }\n`,
    '5:15 "log.level" is "loud": expected "trace", "debug", "info", "warn", "error" or "silent"',
    '5:29 "log.format" is "jsn": expected "auto", "json", "pretty" or "xinetd" | did you mean "json"?',
  ],
  "one port twice in a service": [
    `services:\n  a:\n    ports: ["80", "80:81"]\n    container: c\n`,
    '3:19 service "a": port 80 is already in use by service "a" | each port can be bound once',
  ],
  "the port of the configured admin server": [
    `admin: { listen: "0.0.0.0:2121" }
${ftp}`,
    '4:13 service "ftp": port 2121 is already in use by the admin server | each port can be bound once',
  ],
  "variables without a value": [
    `services:\n  a:\n    ports: ["\${FRONT}:21"]\n    container: a-\${NAME}-\${SET}\n`,
    '3:13 variable "FRONT" is not set | set it, or give a default: "${FRONT:-…}"',
    '4:16 variable "NAME" is not set | set it, or give a default: "${NAME:-…}"',
  ],
  "the former key probes": [
    `${ftp}    probes: [10.0.0.1]\n`,
    '5:5 unknown key "probes" in service "ftp" | use monitors: […]',
  ],
  "the former value hold: loading": [
    `${ftp}    hold: loading\n`,
    '5:11 "hold" of service "ftp" is "loading": expected "auto", "silent", "page" or a mapping | use "auto": clients of Redis wait until the target is ready',
  ],
  "sleep settings of a forward": [
    "services: { a: { ports: 1, forward: 'h:2', idle_timeout: 5m, sleep: kill } }\n",
    '1:44 service "a": "idle_timeout" has no effect for "forward" | remove it',
    '1:62 service "a": "sleep" has no effect for "forward" | remove it',
  ],
  "a forward without a port": [
    "services: { a: { ports: 1, forward: host } }\n",
    '1:37 "forward" of service "a": "host" is not an address: write host and port, for example "127.0.0.1:9000" or "[::1]:9000"',
  ],
  "a target port of a forward": [
    "services: { a: { ports: '1:2', forward: 'h:3' } }\n",
    '1:25 service "a": a target port has no effect for "forward" | write only where to listen: "1"',
  ],
  "an unknown builtin": [
    "services: { a: { ports: 1, builtin: echoo } }\n",
    '1:37 "builtin" of service "a" is "echoo": expected "echo", "discard", "daytime", "time" or "chargen" | did you mean "echo"?',
  ],
  "dependencies of a builtin": [
    "services: { a: { ports: 1, builtin: echo, depends_on: [b] }, b: { ports: 2, container: c } }\n",
    '1:43 service "a": "depends_on" has no effect for "builtin" | remove it',
  ],
  "a forward to its own listen port": [
    "services: { a: { ports: 1, forward: 'localhost:1' } }\n",
    '1:25 service "a": port 1 is a listen port of wakeport: the forward would connect to itself | forward to another port or machine',
  ],
  "more held datagrams than the memory limit": [
    "services: { a: { ports: 53/udp, container: c, udp: { held: 99999g } } }\n",
    '1:13 service "a": 1000 flows with 107373108658176 bytes each can fill the memory: the limit is 1 GiB | lower "udp.flows" or "udp.held"',
  ],
  "a dependency on a forward": [
    "services: { a: { ports: 1, container: c, depends_on: [b] }, b: { ports: 2, forward: 'h:2' } }\n",
    '1:55 service "a" depends on "b", which starts no target',
  ],
  "a text as file": ["hello", '1:1 the file is "hello": expected a mapping'],
  "an unclosed list": [
    "services: {a: {ports: [1,\n",
    "2:1 flow sequence in block collection must be sufficiently indented and end with a ]",
  ],
  "a file without services": [
    "admin: {}\n",
    'the file defines no service | write one under "services:", or let labels define them: "docker: { discover: true }"',
  ],
  "an unknown key in a service": [
    service("idle_timout: 5m"),
    '2:37 unknown key "idle_timout" in service "a" | did you mean "idle_timeout"?',
  ],
  "a key of a section at the top level": [
    "discover: true\nservices:\n  a: { ports: [2121], container: c }\n",
    '1:1 unknown key "discover" in the file | write it in "docker": docker: { discover: … }',
  ],
  "container_name of compose": [
    "services: { a: { ports: 1, container_name: web } }",
    '1:28 unknown key "container_name" in service "a" | use container: NAME',
  ],
  "dependencies in the long syntax of compose": [
    service("depends_on: { db: { condition: service_healthy } }"),
    '2:37 "depends_on" of service "a" is a mapping: expected a list | write a list: [db]',
  ],
  "a name in place of a list": [
    service("with: web"),
    '2:43 "with" of service "a" is "web": expected a list | write a list: [web]',
  ],
  "a port in the long syntax of compose": [
    "services: { a: { ports: [{ target: 53, published: 5353, protocol: udp, host_ip: 127.0.0.1 }], container: x } }",
    '1:18 "ports" of service "a" is a mapping: expected a number or text | write "127.0.0.1:5353:53/udp"',
  ],
  "a path as probe": [
    service("ready: /health"),
    '2:44 "ready" of service "a" is "/health": expected "protocol", "tcp", "healthy", a mapping or a list | write { http: /health }',
  ],
  "a colon without a space": [
    "services:\n  a:\n    ports: 1\n    container:x\n",
    "4:5 implicit map keys need to be followed by map values | write a space after the colon",
  ],
  "a key with a dash": [
    service("idle-timeout: 5m"),
    '2:37 unknown key "idle-timeout" in service "a" | did you mean "idle_timeout"?',
  ],
  "an unknown key in a process": [
    "services: { a: { ports: '1:2', process: { comand: [x] } } }",
    '1:32 "process" of service "a" needs "command"',
    '1:43 unknown key "comand" in "process" of service "a" | did you mean "command"?',
  ],
  "a key of another section": [
    service("rate: 50/s"),
    '2:37 unknown key "rate" in service "a" | write it in "limits": limits: { rate: … }',
  ],
  "a key of several sections": [
    "services: { a: { ports: 1, forward: 'h:2', command: [x] } }",
    '1:44 unknown key "command" in service "a" | write it in "container", "process" or "inetd"',
  ],
  "the image of a container in a service": [
    "services: { a: { ports: 1, image: nginx } }",
    '1:28 unknown key "image" in service "a" | write it in "container": container: { image: … }',
  ],
  "misspelt ports, without a second error": [
    "services: { a: { port: 8080, container: c }, b: { grup: g, container: c } }",
    '1:18 unknown key "port" in service "a" | did you mean "ports"?',
    '1:51 unknown key "grup" in service "b" | did you mean "group"?',
  ],
  "a key of xinetd": [
    service("only_from: [10.0.0.1]"),
    '2:37 unknown key "only_from" in service "a" | use access: { allow: […] }',
  ],
  "the key name in a container": [
    "services: { a: { ports: 1, container: { name: x } } }",
    '1:41 unknown key "name" in "container" of service "a" | write the name directly: container: NAME',
  ],
  "several addresses in one text": [
    service("access: { deny: '10.0.0.1, 10.0.0.2' }"),
    '2:53 "access.deny" of service "a": "10.0.0.1, 10.0.0.2": write several as a list: ["10.1.2.3", "10.1.2.4"]',
  ],
  "a number in quotes": [
    service("limits: { connections: '50' }"),
    '2:60 "limits.connections" of service "a" is "50": expected a number | write it without quotes: 50',
  ],
  "no in place of false": [
    service("enabled: no"),
    '2:46 "enabled" of service "a" is "no": expected true or false | write false',
  ],
  "a section as text": [
    service("banner: hello"),
    '2:45 "banner" of service "a" is "hello": expected a mapping | known keys: connect, accept, deny',
  ],
  "environment variables as a list": [
    "services: { a: { ports: 1, inetd: { command: [x], env: [A=b] } } }",
    '1:51 "inetd.env" of service "a" is a list: expected a mapping | write it as { NAME: value }',
  ],
  "a number as banner": [
    service("banner: { connect: 421 }"),
    '2:56 "banner.connect" of service "a" is 421: expected text or a mapping | write it in quotes: "421"',
  ],
  "a file name as banner": [
    service("banner: { connect: /etc/banner }"),
    '2:56 "banner.connect" of service "a": "/etc/banner" is a text here: for that file write { file: /etc/banner }',
  ],
  "an endless ban": [
    "services: { a: { ports: 1, sensor: { ban: forever } } }",
    '1:43 "sensor.ban" of service "a": "forever" is not a duration: write it as "500ms", "90s", "5m" or "1h30m", at most "576h"',
  ],
  "a umask as a number": [
    "services: { a: { ports: 1, inetd: { command: [x], umask: 22 } } }",
    '1:58 "inetd.umask" of service "a": a umask is octal, in quotes: "027"',
  ],
  "-1 as resource limit": [
    "services: { a: { ports: 1, inetd: { command: [x], rlimits: { as: -1 } } } }",
    '1:66 "inetd.rlimits.as" of service "a": "-1" is not a size: write it as "512m" or "1.5g"',
  ],
  "a port range with spaces": [
    "services: { a: { ports: ['30000 - 30009'], container: c } }",
    '1:26 "ports" of service "a": "30000 - 30009": write a range without spaces: "30000-30009"',
  ],
  "several ports in one text": [
    "services: { a: { ports: '21, 22', container: c } }",
    '1:25 "ports" of service "a": "21, 22": write several ports as a list: [21, "2121:21"]',
  ],
  "a Unix socket as port": [
    "services: { a: { ports: 'unix:/run/x', container: c } }",
    '1:25 "ports" of service "a": "unix:/run/x": wakeport listens on ports, not on Unix sockets: write "2121:21" or "127.0.0.1:2121:21"',
  ],
  "a misspelt transport": [
    "services: { a: { ports: 53/upd, container: c } }",
    '1:25 "ports" of service "a": "53/upd": the protocol is tcp or udp: write "53" or "53/udp"',
  ],
  "an IPv6 address without brackets": [
    "services: { a: { ports: '::1:21', container: c } }",
    '1:25 "ports" of service "a": "::1:21": write an IPv6 address in brackets: "[::1]:21"',
  ],
  "a forward to a port alone": [
    "services: { a: { ports: 1, forward: 8080 } }",
    '1:37 "forward" of service "a": an address has a host and a port: write "127.0.0.1:8080"',
  ],
  "a forward to a URL": [
    "services: { a: { ports: 1, forward: 'http://a.b:80/' } }",
    '1:37 "forward" of service "a": "http://a.b:80/" is not an address: write host and port, for example "127.0.0.1:9000" or "[::1]:9000"',
  ],
  "a forward to a port name": [
    "services: { a: { ports: 1, forward: 'a.b:http' } }",
    '1:37 "forward" of service "a": "a.b:http" is not an address: write host and port, for example "127.0.0.1:9000" or "[::1]:9000"',
  ],
  "a forward to IPv6 without a port": [
    "services: { a: { ports: 1, forward: 'fd00::1' } }",
    '1:37 "forward" of service "a": "fd00::1" is not an address: write host and port, for example "127.0.0.1:9000" or "[::1]:9000"',
  ],
  "a service in defaults": [
    "defaults: { a: { idle_timeout: 3m } }\nservices:\n  a: { ports: [2121], container: c }\n",
    '1:13 unknown key "a" in "defaults" | "defaults" contains settings: put service "a" under "services"',
  ],
  "a service name with a space": [
    "services: { 'a b': { ports: 1, container: c } }",
    `1:13 service "a b": a service's name has letters, digits, dots, dashes and underscores`,
  ],
  "a service without ports that nothing wakes": [
    "services: { a: { container: c } }",
    '1:13 service "a" has no "ports", and nothing wakes it | add "with: [SERVICE]" to wake it with another service, "group: NAME" to wake and sleep with several, or "ports" for clients',
  ],
  "a service without a target": [
    "services: { a: { ports: 1 } }",
    '1:13 service "a": a target is missing | add one of "container:", "process:", "inetd:", "forward:", "builtin:", "sensor:"',
  ],
  "two targets": [
    "services: { a: { ports: '1:2', container: c, process: { command: [x] } } }",
    '1:46 service "a": "container" and "process" exclude each other: a service has one target',
  ],
  "a command as text": [
    "services: { a: { ports: '1:2', process: { command: x y } } }",
    '1:52 "process.command" of service "a": the command is a list: ["node", "server.js"]; there is no shell',
  ],
  "a process without a port": [
    "services: { a: { ports: 1, process: { command: [x] } } }",
    '1:28 service "a": the port of the process is unknown | add listen: "127.0.0.1:PORT", or write ports as "LISTEN_PORT:PORT"',
  ],
  "a process on a listen port of wakeport": [
    "services: { a: { ports: 9000, process: { command: [x], listen: '127.0.0.1:9000' } } }",
    '1:25 service "a": the process cannot listen on port 9000: it is a listen port of wakeport | let the process listen on another port ("listen")',
  ],
  "text as duration": [
    service("idle_timeout: soon"),
    '2:51 "idle_timeout" of service "a": "soon" is not a duration: write it as "500ms", "90s", "5m" or "1h30m", at most "576h"',
  ],
  "days as duration": [
    service("idle_timeout: 5d"),
    '2:51 "idle_timeout" of service "a": "5d": days are not a unit: write "120h"',
  ],
  "days beyond the limit as duration": [
    service("idle_timeout: 30d"),
    '2:51 "idle_timeout" of service "a": "30d" is longer than the limit of 24 days (576h)',
  ],
  "a unit as a word": [
    service('idle_timeout: "10 min"'),
    '2:51 "idle_timeout" of service "a": "10 min" is not a duration: write "10m"',
  ],
  "a probe without its value": [
    service("ready: http"),
    '2:44 "ready" of service "a" is "http": expected "protocol", "tcp", "healthy", a mapping or a list | write { http: /path }',
  ],
  "a start timeout of 0s": [
    service("start_timeout: 0s"),
    '2:52 "start_timeout" of service "a": with 0s no target could start',
  ],
  "an unknown probe": [
    service("ready: helthy"),
    '2:44 "ready" of service "a" is "helthy": expected "protocol", "tcp", "healthy", a mapping or a list | did you mean "healthy"?',
  ],
  "a misspelt probe in a list": [
    service("ready: [tcp, { htttp: / }]"),
    '2:52 unknown key "htttp" in "ready" of service "a" | did you mean "http"?',
  ],
  "a probe status without a path": [service("ready: { status: 204 }"), '2:37 "ready" of service "a" needs "http"'],
  "a status next to a banner probe": [
    service("ready: { banner: x, status: 204 }"),
    '2:57 unknown key "status" in "ready" of service "a" | it cannot be combined with the other keys here',
  ],
  "2xx as status": [
    service("ready: { http: /, status: 2xx }"),
    '2:63 "ready.status" of service "a": "2xx" is not a status: write 204 or "200-399"',
  ],
  "text as status": [
    service("ready: { http: /, status: ok }"),
    '2:63 "ready.status" of service "a": "ok" is not a status: write 204 or "200-399"',
  ],
  "a status below 200": [
    service("ready: { http: /, status: 99 }"),
    '2:63 "ready.status" of service "a": "99": the status of a response is a number from 200 to 599',
  ],
  "a status above 599": [
    service("ready: { http: /, status: 200-999 }"),
    '2:63 "ready.status" of service "a": "200-999": the status of a response is a number from 200 to 599',
  ],
  "a status range in the wrong order": [
    service("ready: { http: /, status: 399-200 }"),
    '2:63 "ready.status" of service "a": "399-200" is in the wrong order: write "200-399"',
  ],
  "an invalid regular expression": [
    service("ready: { log: 'listening on (\\d+' }"),
    '2:51 "ready.log" of service "a": "listening on (\\d+" is not a regular expression: unterminated group',
  ],
  "a regular expression in slashes": [
    service("ready: { log: /ready/i }"),
    `2:51 "ready.log" of service "a": "/ready/i" is in slashes, which are part of the pattern here: write '(?i:ready)' (or "[/]" for a slash)`,
  ],
  "an empty regular expression": [service("ready: [{ log: '' }]"), '2:52 "ready.log" of service "a" is empty'],
  "a health check of a process": [
    "services: { a: { ports: '1:2', process: { command: [x] }, ready: healthy } }",
    '1:66 service "a": "ready: healthy" is for containers: a process has no health check | use "tcp", {banner: …}, {http: …} or {log: …}',
  ],
  "a network for a process": [
    "services: { a: { ports: '1:2', process: { command: [x] }, network: n } }",
    '1:59 service "a": "network" has no effect for "process" | remove it',
  ],
  "a port range in the wrong order": [
    "services: { a: { ports: 30009-30000, container: c } }",
    '1:25 "ports" of service "a": "30009-30000": a range starts with the lower port: write "30000-30009"',
  ],
  "a port range without an end": [
    "services: { a: { ports: '30000-', container: c } }",
    '1:25 "ports" of service "a": "30000-": "30000-" is not a port',
  ],
  "a port range above 65535": [
    "services: { a: { ports: 65530-65536, container: c } }",
    '1:25 "ports" of service "a": "65530-65536": a port is a number from 1 to 65535',
  ],
  "a port range with a name": [
    "services: { a: { ports: nobody-30000, container: c } }",
    '1:25 "ports" of service "a": "nobody-30000": "nobody-30000" is neither a port name nor a range of two numbers',
  ],
  "a port range with a shorter target range": [
    'services: { a: { ports: "30000-30009:40000-40008", container: c } }',
    '1:25 "ports" of service "a": "30000-30009:40000-40008": the ranges differ in length: 10 listen and 9 target ports',
  ],
  "a port range with one target port": [
    'services: { a: { ports: "[::1]:30000-30009:21", container: c } }',
    '1:25 "ports" of service "a": "[::1]:30000-30009:21": the ranges differ in length: 10 listen and 1 target ports',
  ],
  "a port range with a target range above 65535": [
    'services: { a: { ports: "30000-30009:65530-65535", container: c } }',
    '1:25 "ports" of service "a": "30000-30009:65530-65535": the ranges differ in length: 10 listen and 6 target ports',
  ],
  "a port with a target range": [
    'services: { a: { ports: "21:30000-30009", container: c } }',
    '1:25 "ports" of service "a": "21:30000-30009": the ranges differ in length: 1 listen and 10 target ports',
  ],
  "a port range above the limit": [
    "services: { a: { ports: 1024-65535, container: c } }",
    '1:25 "ports" of service "a": "1024-65535": 64512 ports are more than the limit of 1000',
  ],
  "more ports in total than the limit": [
    "services: { a: { ports: [21, 30000-30999], container: c } }",
    '1:18 service "a": 1001 ports are more than the limit of 1000 | each port is a listener: use fewer',
  ],
  "a port in the range of another service": [
    "services:\n  a: { ports: [21, 30000-30009], container: c }\n  b: { ports: [80, 30005-30015], container: d }\n",
    '3:20 service "b": port 30005 is already in use by service "a" | each port can be bound once; services can share it by "host" (HTTP) or "sni" (TLS)',
  ],
  "overlapping ranges of one service": [
    "services: { a: { ports: [30000-30009, 30009/tcp], container: c } }",
    '1:39 service "a": port 30009 is already in use by service "a" | each port can be bound once',
  ],
  "the port of the admin server in a range": [
    "services: { a: { ports: 9460-9469, container: c } }",
    '1:25 service "a": port 9464 is already in use by the admin server | each port can be bound once',
  ],
  "a range that overlaps the ports of its process": [
    'services: { a: { ports: ["2121:21", "30000-30009:30009-30018"], process: { command: [x] } } }',
    '1:37 service "a": the process cannot listen on port 30009: it is a listen port of wakeport | give the process and wakeport different addresses: "192.0.2.1:30000-30009"',
  ],
  "a forward to a port of its own range": [
    'services: { a: { ports: 30000-30009, forward: "127.0.0.1:30004" } }',
    '1:25 service "a": port 30004 is a listen port of wakeport: the forward would connect to itself | forward to another port or machine',
  ],
  "an unsupported transport": [
    "services: { a: { ports: 53/sctp, container: c } }",
    '1:25 "ports" of service "a": "53/sctp": the protocol is tcp or udp: write "53" or "53/udp"',
  ],
  "one port in two services": [
    "services:\n  a: { ports: 2121, container: c }\n  b: { ports: '127.0.0.1:2121', container: d }\n",
    '3:15 service "b": port 2121 is already in use by service "a" | each port can be bound once; services can share it by "host" (HTTP) or "sni" (TLS)',
  ],
  "one container over two networks": [
    "services: { a: { ports: 1, container: c, network: n }, b: { ports: 2, container: c } }",
    '1:56 services "a" and "b" start the same container, but connect over different networks',
  ],
  "two processes on one port": [
    "services: { a: { ports: '1:9', process: { command: [x] } }, b: { ports: '2:9', process: { command: [x] } } }",
    '1:80 services "a" and "b" have processes that listen on the same address 127.0.0.1:9 | give them different ports',
  ],
  "a variable without quotes in braces": [
    "services: { a: { ports: 1, container: ${NAME} } }",
    '1:40 unexpected flow-map-start at node end | write the variable in quotes inside braces: "${VAR}"',
  ],
  "an unclosed variable": [
    "services: { a: { ports: 1, container: 'x${' } }",
    '1:39 cannot read "${" here | write "${VAR}", "${VAR:-default}", or "$$" for a dollar sign',
  ],
};

suite("parseConfig() reports", () => {
  for (const [name, [text, ...expected]] of Object.entries(cases)) {
    test(name, () => assert.deepEqual(problemsOf(text), expected));
  }

  test("bytes that are not UTF-8, and a file above the limit", () => {
    assert.equal(
      errorOf(Uint8Array.of(0xff, 0xfe, 0x61)).message,
      "w.yaml error: the file is not UTF-8 text\n  save it as UTF-8\nw.yaml: 1 problem",
    );
    assert.equal(
      errorOf(new Uint8Array(262_145)).message,
      "w.yaml error: the file has 262145 bytes; the limit is 262144\nw.yaml: 1 problem",
    );
  });

  test("an unset variable once, regardless of the value that is expected", () => {
    assert.equal(errorOf("services: { a: { ports: '${NOPE}', container: c } }").problems.length, 1);
  });

  test("all problems of a file", () => {
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
      problemsOf(text).map((line) => line.split(" ", 1)[0]),
      ["3:13", "4:16", "5:19", "7:5", "9:16", "10:15"],
    );
  });
});

suite("ConfigError", () => {
  test("shows the line with carets under the place, and the number of problems", () => {
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

  test("contains no control characters of the file", () => {
    const { message } = errorOf("services: \u001b[31m\u0007\u202e\r\n");
    assert.doesNotMatch(message, /[^\P{Cc}\n]|\p{Cf}/u);
  });

  test("has the same place with CRLF and with LF", () => {
    const crlf = `${ftp}    idle_timout: 5m\n`.replaceAll("\n", "\r\n");
    assert.match(errorOf(crlf).message, /^w\.yaml:5:5 error/);
  });

  test("is limited in size for many problems", () => {
    const keys = Array.from({ length: 4_000 }, (_, index) => `k${index}: 1`);
    const { message, problems } = errorOf(`{ ${keys.join(", ")} }`);
    assert.equal(problems.length, 4_000);
    assert.ok(message.length < 2_000_000, `${message.length} characters`);
  });
});

suite("parseConfig() with random content", () => {
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

  test("throws ConfigError only", () => {
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
