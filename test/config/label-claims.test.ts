/** Ports and names that labels may claim, next to wakeport.yaml and other labels. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { Config } from "../../src/config/config.ts";
import { serviceOfLabels } from "../../src/config/labels.ts";
import { parseConfig } from "../../src/config/parse.ts";
import { reconcile } from "../../src/daemon/label-reconciler.ts";
import type { ListedContainer } from "../../src/docker/container-facts.ts";
import { covers } from "../../src/net/hostname.ts";

function configOf(services: string, labels = ""): Config {
  const text = `docker: { discover: all, labels: { ${labels} } }\nservices: { ${services} }\n`;
  return parseConfig(Buffer.from(text), "w.yaml", { env: {}, adminListen: { host: "127.0.0.1", port: 9464 } });
}

interface Claim {
  readonly ports: string;
  readonly host?: string;
  readonly sni?: string;
  readonly data?: string;
  readonly protocol?: string;
  readonly project?: string;
  readonly created?: number;
}

function container(name: string, { project, created = 0, ...claim }: Claim): ListedContainer {
  const labels = Object.entries(claim).map(([key, value]) => [`wakeport.${key}`, value]);
  const compose = project && { "com.docker.compose.project": project, "com.docker.compose.service": name };
  return { id: name, name, created, labels: { "wakeport.enable": "true", ...Object.fromEntries(labels), ...compose } };
}

/** The problems of these containers, and the services that they define. */
function outcome(config: Config, ...containers: readonly ListedContainer[]): { served: string[]; problems: string[] } {
  const around = { found: new Map(), goneSince: new Map(), skipped: new Map(), config, read: serviceOfLabels, now: 0 };
  const { added, problems } = reconcile(containers, around);
  return {
    served: added.map(({ service }) => service.name),
    problems: problems.map(({ problem }) => problem),
  };
}

interface Case {
  readonly file?: string;
  readonly labels?: string;
  readonly claim: Claim;
  /** Absent: the claim is accepted. */
  readonly refused?: RegExp;
}

const app = 'app: { ports: 8080, host: "*.app.localhost", container: x }';
const exact = "app: { ports: 8080, host: login.app.localhost, container: x }";
const rest = 'rest: { ports: 8080, host: "*", container: x }';
const secure = 'app: { ports: 8443, sni: "*.app.localhost", container: x }';
const covered =
  /^label wakeport.host: "login.app.localhost" is covered by "\*.app.localhost" of service "app" \(wakeport.yaml\): allow it in docker.labels.names$/;

const cases: Readonly<Record<string, Case>> = {
  "a port from 1024": { claim: { ports: "1024" } },
  "a port below 1024": {
    claim: { ports: "80" },
    refused: /^label wakeport.ports: port 80 is not in docker.labels.ports \(1024-65535\): add it there$/,
  },
  "a port below 1024 over UDP": { claim: { ports: "8080, 53/udp" }, refused: /port 53 is not/ },
  "a port below 1024 that is allowed": { labels: "ports: [443, 80]", claim: { ports: "80" } },
  "a port that is not allowed": { labels: "ports: 8000-8999", claim: { ports: "9000" }, refused: /\(8000-8999\)/ },
  "a range that begins outside": { claim: { ports: "1000-1100" }, refused: /port 1000 is not/ },
  "a range that ends outside": { labels: "ports: 8000-8999", claim: { ports: "8990-9005" }, refused: /port 9000 is/ },
  "a range over two allowed ones": { labels: "ports: [8000-8999, 9000-9999]", claim: { ports: "8990-9005" } },
  "a data port outside": {
    claim: { ports: "2121", protocol: "ftp", data: "1000" },
    refused: /wakeport.data: port 1000/,
  },
  "no port at all": { labels: "ports: []", claim: { ports: "8080" }, refused: /\(none\)/ },

  "a port of the file": {
    file: "app: { ports: 8080, container: x }",
    claim: { ports: "8080" },
    refused: /already in use/,
  },
  "a range with a port of the file": {
    file: "app: { ports: 8080, container: x }",
    claim: { ports: "8075-8085" },
    refused: /already in use/,
  },
  "a port of the file on another address": {
    file: 'app: { ports: "127.0.0.1:8080", container: x }',
    claim: { ports: "127.0.0.2:8080" },
    refused:
      /^label wakeport.ports: port 8080 belongs to service "app" \(wakeport.yaml\), on another address or protocol/,
  },
  "a port of the file on IPv6": {
    file: 'app: { ports: "127.0.0.1:8080", container: x }',
    claim: { ports: "[::1]:8079-8081" },
    refused: /port 8080 belongs to/,
  },
  "a port of the file over UDP": {
    file: "app: { ports: 8443, container: x }",
    claim: { ports: "8443/udp" },
    refused: /port 8443 belongs to/,
  },
  "a port of the file over TCP": {
    file: "app: { ports: 8053/udp, container: x }",
    claim: { ports: "8053" },
    refused: /port 8053 belongs to/,
  },
  "the admin server's port on IPv6": { claim: { ports: "[::1]:9464" }, refused: /belongs to the admin server/ },
  "the number of a disabled service": {
    file: "app: { ports: 8080, container: x, enabled: false }",
    claim: { ports: "[::1]:8080" },
  },
  "a name on the file's port, with an address": {
    file: 'app: { ports: "127.0.0.1:8080", host: app.localhost, container: x }',
    claim: { ports: "8080", host: "other.localhost" },
    refused: /same address/,
  },

  "a name below a pattern of the file": {
    file: app,
    claim: { ports: "8080", host: "login.app.localhost" },
    refused: covered,
  },
  "a pattern below a pattern of the file": {
    file: app,
    claim: { ports: "8080", host: "*.login.app.localhost" },
    refused: /is covered by/,
  },
  "a pattern over a pattern of the file": {
    file: app,
    claim: { ports: "8080", host: "*.localhost" },
    refused: /"\*.localhost" covers "\*.app.localhost"/,
  },
  "a pattern over a name of the file": {
    file: exact,
    claim: { ports: "8080", host: "*.app.localhost" },
    refused: /covers "login.app.localhost"/,
  },
  "all names next to a name of the file": { file: exact, claim: { ports: "8080", host: "*" }, refused: /"\*" covers/ },
  "a name below all names of the file": {
    file: rest,
    claim: { ports: "8080", host: "app.localhost" },
    refused: /is covered by "\*" of service "rest"/,
  },
  "a name of TLS below a pattern of the file": {
    file: secure,
    claim: { ports: "8443", sni: "login.app.localhost" },
    refused: /label wakeport.sni: .* is covered by/,
  },
  "one of several names": {
    file: app,
    claim: { ports: "8080", host: "other.localhost, login.app.localhost" },
    refused: covered,
  },
  "one of several ports": {
    file: app,
    claim: { ports: "8079, 8080", host: "login.app.localhost" },
    refused: covered,
  },
  "the file's own pattern": { file: app, claim: { ports: "8080", host: "*.app.localhost" }, refused: /belongs to/ },
  "a name next to the pattern": { file: app, claim: { ports: "8080", host: "app.localhost" } },
  "a name with the same end": { file: app, claim: { ports: "8080", host: "evilapp.localhost" } },
  "a name below the pattern, on another port": { file: app, claim: { ports: "8081", host: "login.app.localhost" } },
  "a name that is allowed below a pattern": {
    file: app,
    labels: 'names: "*.app.localhost"',
    claim: { ports: "8080", host: "login.app.localhost" },
  },
  "all that is not the file's, if that is allowed": {
    file: exact,
    labels: 'names: "*"',
    claim: { ports: "8080", host: "*" },
  },
  "the file's own name, also if it is allowed": {
    file: exact,
    labels: 'names: "*"',
    claim: { ports: "8080", host: "login.app.localhost" },
    refused: /belongs to/,
  },
  "a name that is not allowed": {
    labels: 'names: ["*.apps.test", b.test]',
    claim: { ports: "8080", host: "a.test" },
    refused: /^label wakeport.host: "a.test" is not in docker.labels.names \(\*.apps.test, b.test\): add it there$/,
  },
  "a pattern wider than what is allowed": {
    labels: "names: a.test",
    claim: { ports: "8080", host: "*.test" },
    refused: /is not in docker.labels.names/,
  },
};

suite("labels", () => {
  for (const [title, { file = "", labels, claim, refused }] of Object.entries(cases)) {
    test(`${refused === undefined ? "may" : "must not"} claim ${title}`, () => {
      const { served, problems } = outcome(configOf(file, labels), container("label", claim));
      if (refused === undefined) assert.deepEqual([served, problems], [["label"], []]);
      else {
        assert.deepEqual(served, []);
        assert.ok(
          problems.some((problem) => refused.test(problem)),
          problems.join("\n"),
        );
      }
    });
  }

  test("must not take the name of a disabled service of the file", () => {
    const config = configOf("label: { ports: 8080, container: x, enabled: false }");
    assert.match(
      outcome(config, container("label", { ports: "8081" })).problems.join(),
      /service "label" already exists/,
    );
  });
});

suite("labels of different projects", () => {
  const wide = { ports: "8080", host: "*.app.test" };
  const narrow = { ports: "8080", host: "login.app.test" };
  const config = configOf("", 'names: "*"');

  test("do not refine each other's patterns: the service of the older container stays", () => {
    for (const [first, second] of [
      [wide, narrow],
      [narrow, wide],
    ] as const) {
      const older = container("older", { ...first, project: "p", created: 1 });
      const newer = container("newer", { ...second, project: "q", created: 2 });
      for (const order of [
        [older, newer],
        [newer, older],
      ]) {
        const { served, problems } = outcome(config, ...order);
        assert.deepEqual(served, ["older"]);
        assert.match(
          problems.join("\n"),
          /(is covered by|covers) .* \(labels of another project\): choose another name$/,
        );
      }
    }
  });

  test("do not take each other's port numbers on another address", () => {
    const older = container("older", { ports: "127.0.0.1:8080", created: 1 });
    const newer = container("newer", { ports: "[::1]:8080", created: 2 });
    assert.deepEqual(outcome(config, newer, older).served, ["older"]);
  });

  test("of one project may refine each other's patterns", () => {
    const containers = [container("a", { ...wide, project: "p" }), container("b", { ...narrow, project: "p" })];
    assert.deepEqual(outcome(config, ...containers), { served: ["a", "b"], problems: [] });
  });
});

suite("docker.labels", () => {
  test("reports an invalid value", () => {
    assert.throws(() => configOf("", "ports: 99-1"), /a range starts with the lower port: write "1-99"/);
    assert.throws(() => configOf("", "ports: 70000"), /a port is a number from 1 to 65535/);
    assert.throws(() => configOf("", "ports: http"), /"http" is not a port/);
    assert.throws(() => configOf("", 'names: "*x"'), /"\*" is the whole name/);
  });
});

suite("covers()", () => {
  test("compares names and patterns", () => {
    const patterns = ["*", "*.test", "*.a.test", "a.test", "b.a.test"];
    const found = patterns.map((one) => patterns.filter((other) => covers(one, other)));
    assert.deepEqual(found, [
      patterns,
      ["*.test", "*.a.test", "a.test", "b.a.test"],
      ["*.a.test", "b.a.test"],
      ["a.test"],
      ["b.a.test"],
    ]);
  });
});
