import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { suite, test } from "node:test";
import fc from "fast-check";
import type { Config, Service } from "../../src/config/config.ts";
import { type LabelledService, serviceOfLabels } from "../../src/config/labels.ts";
import { parseConfig } from "../../src/config/parse.ts";
import { parseTimes } from "../../src/config/values/access-times.ts";
import { parseNetwork } from "../../src/config/values/networks.ts";

function configOf(text: string): Config {
  return parseConfig(Buffer.from(text), "w.yaml", { env: {}, adminListen: { host: "127.0.0.1", port: 9464 } });
}

const config = configOf("docker: { discover: true }\ndefaults: { idle_timeout: 7m }\n");

function read(labels: Readonly<Record<string, string>>, from: Config = config): LabelledService | undefined {
  const reference = { service: "web", project: "demo" };
  return serviceOfLabels({ reference, name: "web", labels: { "wakeport.enable": "true", ...labels } }, from);
}

function serviceOf(labels: Readonly<Record<string, string>>): Service {
  const found = read(labels);
  assert.ok(found !== undefined && "service" in found, JSON.stringify(found));
  return found.service;
}

function problemsOf(labels: Readonly<Record<string, string>>): readonly string[] {
  const found = read(labels);
  assert.ok(found !== undefined && "problems" in found, "no problem is found");
  return found.problems;
}

suite("labels of a container", () => {
  test("define a service with keys of wakeport.yaml", () => {
    const service = serviceOf({
      "wakeport.ports": "2121:21, 127.0.0.1:2122:22, 30000-30009",
      "wakeport.ready": "[tcp, { http: /health }]",
      "wakeport.limits.waiting": "10",
      "wakeport.wake_on": "first_byte",
      "wakeport.monitors": "[10.0.0.5, 10.1.0.0/16]",
      "wakeport.sleep": "[{ after: 1m, do: pause }, { after: 30m, do: stop }]",
      "com.example": "not ours",
    });
    assert.equal(service.name, "web");
    assert.deepEqual(service.ports, [
      { listen: 2121, target: 21 },
      { address: "127.0.0.1", listen: 2122, target: 22 },
      { listen: 30_000, target: 30_000, count: 10 },
    ]);
    assert.equal(service.wakeOn, "first_byte");
    assert.deepEqual(service.monitors, [parseNetwork("10.0.0.5"), parseNetwork("10.1.0.0/16")]);
    assert.deepEqual(
      service.ready.map(({ kind }) => kind),
      ["tcp", "http"],
    );
    assert.deepEqual([service.idleTimeoutMs, service.sleep, service.limits.waiting], [60_000, "pause", 10]);
  });

  test("may set access, limits and banners", () => {
    const service = serviceOf({
      "wakeport.ports": "2121",
      "wakeport.access.allow": "[10.0.0.0/8]",
      "wakeport.access.times": "mon-fri 08:00-20:00",
      "wakeport.limits.rate": "5/m",
      "wakeport.banner.deny": "421 no\r\n",
      "wakeport.on_deny": "close",
    });
    assert.deepEqual(service.access.allow, [parseNetwork("10.0.0.0/8")]);
    assert.deepEqual(service.access.times, [parseTimes("mon-fri 08:00-20:00")]);
    assert.deepEqual(service.limits.rate, { count: 5, perMs: 60_000 });
    assert.equal(service.banner.deny?.toString(), "421 no\r\n");
    assert.equal(service.onDeny, "close");
  });

  for (const labels of [
    { "wakeport.banner": "{ deny: { file: /etc/hostname } }" },
    { "wakeport.banner.deny": "x", "wakeport.banner.accept.file": "/etc/hostname" },
  ]) {
    test(`must not send a file of the host to clients: ${JSON.stringify(labels)}`, () => {
      const [problem, ...more] = problemsOf({ "wakeport.ports": "2121", ...labels });
      assert.match(problem ?? "", /label wakeport\.banner\.(deny|accept): files are allowed only in wakeport\.yaml/);
      assert.deepEqual(more, []);
    });
  }

  test("must not hold more UDP data than the limit", () => {
    const found = read({ "wakeport.ports": "53/udp", "wakeport.udp.held": "256k" });
    assert.ok(found !== undefined && "problems" in found);
    assert.match(found.problems.join(), /label wakeport\.udp: flows × held must not exceed/);
  });

  test("inherit the banners of defaults, including files", () => {
    const from = configOf(
      `docker: { discover: true }\ndefaults: { banner: { deny: { file: ${import.meta.filename} }, accept: hello } }\n`,
    );
    const found = read({ "wakeport.ports": "2121", "wakeport.banner.accept": "welcome" }, from);
    assert.ok(found !== undefined && "service" in found, JSON.stringify(found));
    const { deny, accept } = found.service.banner;
    assert.ok(deny?.equals(readFileSync(import.meta.filename)));
    assert.equal(accept?.toString(), "welcome");
  });

  test("may contain names, text and lists without YAML syntax", () => {
    const service = serviceOf({
      "wakeport.ports": "2121",
      "wakeport.name": "ftp",
      "wakeport.network": "yes",
      "wakeport.group": "1",
    });
    assert.deepEqual([service.name, service.group], ["ftp", "labels demo/1"]);
    assert.deepEqual(service.target, {
      kind: "container",
      reference: { service: "web", project: "demo" },
      network: "yes",
      byLabels: true,
    });
    assert.deepEqual(service.ports, [{ listen: 2121, target: 2121 }]);
  });

  test("define a service without ports that belongs to a group", () => {
    const { ports, group, ready } = serviceOf({ "wakeport.group": "shop" });
    assert.deepEqual([ports, group, ready], [[], "labels demo/shop", []]);
  });

  test("inherit defaults of the file", () => {
    assert.equal(serviceOf({ "wakeport.ports": "2121" }).idleTimeoutMs, 7 * 60_000);
  });

  test("define no service if wakeport.enable is false or absent", () => {
    assert.equal(read({ "wakeport.enable": "false" }), undefined);
    assert.equal(
      serviceOfLabels({ reference: { name: "a" }, name: "a", labels: { "wakeport.ports": "1" } }, config),
      undefined,
    );
  });

  const wrong: Readonly<Record<string, readonly [labels: Record<string, string>, problem: RegExp]>> = {
    "an invalid wakeport.enable": [
      { "wakeport.enable": "yes" },
      /^label wakeport\.enable is "yes": expected true or false$/,
    ],
    "no ports": [
      {},
      /service "web" has no "ports", and nothing wakes it \(add "group: NAME" .*or "ports" for clients\)/,
    ],
    "with other services": [{ "wakeport.with": "[web]" }, /^unknown label wakeport\.with/],
    "an invalid port": [{ "wakeport.ports": "21!" }, /^label wakeport\.ports: .*"21!" is not a port/],
    "a duration without a unit": [
      { "wakeport.ports": "1", "wakeport.idle_timeout": "300" },
      /^label wakeport\.idle_timeout: .*write "300s"/,
    ],
    "a misspelt label": [{ "wakeport.port": "1" }, /^unknown label wakeport\.port: did you mean wakeport\.ports\?/],
    "an old key": [{ "wakeport.probes": "::1" }, /^unknown label wakeport\.probes: use wakeport\.monitors: \[…\]$/],
    "a misspelt nested key": [
      { "wakeport.ports": "1", "wakeport.limits.wating": "1" },
      /unknown key "wating".*waiting/,
    ],
    "a process": [
      { "wakeport.ports": "1", "wakeport.process.command": "[sh]" },
      /^unknown label wakeport\.process\.command: labels cannot set "process": set it in wakeport\.yaml$/,
    ],
    "another container": [
      { "wakeport.ports": "1", "wakeport.container": "other" },
      /^unknown label wakeport\.container/,
    ],
    "a prototype": [{ "wakeport.ports": "1", "wakeport.limits.__proto__": "1" }, /__proto__/],
    "invalid YAML": [
      { "wakeport.ports": "1", "wakeport.ready": "{ http: " },
      /^label wakeport\.ready is "\{ http: ", which is not valid YAML$/,
    ],
    aliases: [
      { "wakeport.ports": "1", "wakeport.ready": "[&a tcp, *a]" },
      /^label wakeport\.ready .*is not valid YAML$/,
    ],
    "a value above the limit": [{ "wakeport.ports": "1".repeat(5_000) }, /longer than 4096 characters/],
    "two labels for one key": [
      { "wakeport.ports": "1", "wakeport.limits": "5", "wakeport.limits.waiting": "1" },
      /exclude each other|twice/,
    ],
    "an invalid name": [{ "wakeport.ports": "1", "wakeport.name": "../x" }, /name has letters, digits/],
  };
  for (const [what, [labels, problem]] of Object.entries(wrong)) {
    test(`are reported with the label: ${what}`, () => {
      assert.match(problemsOf(labels).join("\n"), problem);
    });
  }

  test("must not contain a log pattern if labels of all projects count", () => {
    const all = configOf("docker: { discover: all }\n");
    const found = read({ "wakeport.ports": "1", "wakeport.ready": "{ log: ready }" }, all);
    assert.ok(found !== undefined && "problems" in found);
    assert.match(found.problems[0] ?? "", /^label wakeport\.ready: log patterns are allowed only in wakeport\.yaml/);
    assert.equal(serviceOf({ "wakeport.ports": "1", "wakeport.ready": "{ log: ready }" }).ready[0]?.kind, "log");
  });

  test("never throw, for random labels", () => {
    const label = fc.oneof(
      fc.constantFrom("ports", "ready", "sleep", "limits", "limits.waiting", "name", "idle_timeout", "group", "", "."),
      fc.string(),
    );
    const value = fc.oneof(
      fc.string(),
      fc.constantFrom("1", "2121:21", "[tcp]", "{http: /}", "5m", "true", "*a", "!!js x"),
    );
    const labels = fc.dictionary(
      label.map((name) => `wakeport.${name}`),
      value,
      { maxKeys: 6 },
    );
    fc.assert(
      fc.property(labels, (some) => {
        const found = read(some);
        if (found === undefined) return;
        if ("problems" in found) assert.ok(found.problems.length > 0);
        else assert.deepEqual(found.service.target.kind, "container");
      }),
      { numRuns: 2_000 },
    );
  });
});

suite("problems of labels", () => {
  const problemsOf = (labels: Readonly<Record<string, string>>): readonly string[] => {
    const all = { "wakeport.enable": "true", "wakeport.ports": "8080", ...labels };
    const found = serviceOfLabels({ reference: { name: "c" }, name: "c", labels: all }, config);
    return found !== undefined && "problems" in found ? found.problems : [];
  };

  test("contain no control characters, and have limited length", () => {
    const evil = `\x1b[2J\u202e\n${"x".repeat(10_000)}`;
    for (const key of [`wakeport.${evil}`, `wakeport.limits.${evil}`, `wakeport.${evil}.x`, `wakeport.ready.${evil}`]) {
      for (const value of ["1", evil, `"${evil}"`, "{ a: b }"]) {
        const problems = problemsOf({ [key]: value });
        assert.ok(problems.length > 0, key);
        for (const problem of problems) {
          assert.doesNotMatch(problem, /[\p{Cc}\p{Cf}]/u);
          assert.ok(problem.length < 1_000, `${problem.length} characters`);
        }
      }
    }
  });

  test("are limited in number", () => {
    const many = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`wakeport.x${index}`, "1"]));
    const problems = problemsOf(many);
    assert.equal(problems.length, 11);
    assert.equal(problems.at(-1), "and 490 more problems in its labels");
  });
});

suite("docker.discover", () => {
  test("allows a file without services", () => {
    assert.deepEqual(config.services, []);
    assert.throws(() => configOf("docker: { discover: false }\n"), /the file defines no service/);
  });

  test("is true, false or all", () => {
    assert.equal(config.discover?.scope, "project");
    assert.equal(configOf("docker: { discover: all }\n").discover?.scope, "all");
    assert.throws(() => configOf("docker: { discover: some }\n"), /"docker.discover" is "some": expected/);
  });
});
