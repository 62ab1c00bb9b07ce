/** Determines the services of labelled containers without an engine. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { Config } from "../../src/config/config.ts";
import { serviceOfLabels } from "../../src/config/labels.ts";
import { parseConfig } from "../../src/config/parse.ts";
import { type LabelProblem, type LabelService, LINGER_MS, reconcile } from "../../src/daemon/label-reconciler.ts";
import type { ListedContainer } from "../../src/docker/container-facts.ts";

function configOf(services = ""): Config {
  const text = `docker: { discover: all, labels: { ports: 1-65535 } }\nservices: { ${services} }\n`;
  return parseConfig(Buffer.from(text), "w.yaml", { env: {}, adminListen: { host: "127.0.0.1", port: 9464 } });
}

function container(name: string, ports: string, labels: Readonly<Record<string, string>> = {}): ListedContainer {
  return { id: name, name, created: 0, labels: { "wakeport.enable": "true", "wakeport.ports": ports, ...labels } };
}

/** The running services while containers and configurations change. */
class World {
  readonly found = new Map<string, LabelService>();
  readonly goneSince = new Map<string, number>();
  readonly skipped = new Map<string, LabelProblem>();
  readonly read = serviceOfLabels;
  config = configOf();
  now = 0;

  /** Applies the changes for these containers. Returns the changes and the problems. */
  update(...containers: readonly ListedContainer[]): string[] {
    const { added, changed, removed, problems, againInMs } = reconcile(containers, this);
    for (const { service } of removed) this.found.delete(service.name);
    for (const one of [...changed.map(({ to }) => to), ...added]) this.found.set(one.service.name, one);
    return [
      ...removed.map(({ service }) => `- ${service.name}`),
      ...changed.map(({ to }) => `~ ${to.service.name}`),
      ...added.map(({ service }) => `+ ${service.name}`),
      ...problems.map(({ container: of, problem }) => `${of}: ${problem.replace(/ \(.*$/, "")}`),
      ...(againInMs === undefined ? [] : [`again in ${againInMs}`]),
    ];
  }
}

const [a, b] = [container("a", "80"), container("b", "81")];

suite("reconcile()", () => {
  test("adds and changes services, and removes a service 10 s after its container", () => {
    const world = new World();
    assert.deepEqual(world.update(a, b), ["+ a", "+ b"]);
    assert.deepEqual(world.update(b, a), []);
    assert.deepEqual(world.update(container("a", "82"), b), ["~ a"]);
    assert.deepEqual(world.update(b), [`again in ${LINGER_MS}`]);
    world.now += 4_000;
    assert.deepEqual(world.update(b), [`again in ${LINGER_MS - 4_000}`]);
    assert.deepEqual(world.update(container("a", "82"), b), [], "it returned in time");
    assert.deepEqual(world.update(b), [`again in ${LINGER_MS}`]);
    world.now += LINGER_MS;
    assert.deepEqual(world.update(b), ["- a"]);
  });

  test("removes a service at once if another one conflicts, and adds it again when the conflict is over", () => {
    const world = new World();
    world.update(a);
    assert.deepEqual(world.update(container("c", "80")), ["- a", "+ c"]);
    assert.deepEqual(world.update(a), ["- c", "+ a"]);
    world.config = configOf("a: { ports: 90, container: other }");
    const taken = 'a: service "a" already exists: choose another name with the label wakeport.name';
    assert.deepEqual(world.update(a), ["- a", taken]);
    world.config = configOf();
    assert.deepEqual(world.update(a), ["+ a"]);
    world.config = configOf("u: { ports: [80/udp, 80], container: other }");
    assert.deepEqual(world.update(a)[0], "- a");
    world.config = configOf();
    assert.deepEqual(world.update(a), ["+ a"]);
  });

  test("rejects all containers with the same compose labels", () => {
    const labels = { "com.docker.compose.project": "p", "com.docker.compose.service": "s" };
    const number = (value: string) => ({ ...labels, "com.docker.compose.container-number": value });
    const world = new World();
    const [real, second] = [container("p-s-1", "80", number("1")), container("p-s-2", "80", number("2"))];
    assert.deepEqual(world.update(real, second), ["+ s"]);
    const copy = container("copy", "81", number("1"));
    const reason =
      "the same compose project, service and number as copy, p-s-1: remove the containers that compose did not create";
    const expected = [`p-s-1: ${reason}`, `copy: ${reason}`, `again in ${LINGER_MS}`];
    assert.deepEqual(world.update(real, copy), expected);
    world.now += LINGER_MS;
    assert.deepEqual(world.update(copy, real)[0], "- s");
    assert.deepEqual(world.update(real), ["+ s"]);
  });

  test("keeps the ports of running services, in any order of the list", () => {
    const world = new World();
    world.update(a, b);
    const moved = container("a", "81");
    const rejected = 'a: label wakeport.ports: service "a": port 81 is already in use by service "b"';
    // It still has its old port, which no other service wants.
    for (const order of [
      [moved, b],
      [b, moved],
      [moved, b],
    ]) {
      assert.deepEqual(world.update(...order), [rejected, `again in ${LINGER_MS}`]);
    }
    world.now += LINGER_MS;
    assert.deepEqual(world.update(moved, b), ["- a", rejected]);
  });

  test("keeps a service that cannot be changed, before new services", () => {
    const world = new World();
    world.update(a);
    world.skipped.set("a", { container: "a", problem: "82 is taken" });
    const [moved, newcomer] = [container("a", "82"), container("c", "80")];
    const conflict = 'c: label wakeport.ports: service "c": port 80 is already in use by service "a"';
    assert.deepEqual(world.update(newcomer, moved), ["a: 82 is taken", conflict]);
    world.skipped.clear();
    assert.deepEqual(world.update(newcomer, moved), ["~ a", "+ c"]);
  });

  test("ignores the other ports of a new service that cannot be added", () => {
    const world = new World();
    world.skipped.set("x", { container: "x", problem: "83 is taken" });
    assert.deepEqual(world.update(container("x", "80, 83"), container("y", "80")), ["+ y", "x: 83 is taken"]);
  });

  test("identifies a container by its compose service while compose has renamed it", () => {
    const world = new World();
    const compose = (service: string): Record<string, string> => ({
      "com.docker.compose.project": "p",
      "com.docker.compose.service": service,
    });
    const served = container("p-a-1", "80", compose("a"));
    const newcomer = container("p-b-1", "80", compose("b"));
    world.update(served);
    const successor = container("0123_p-a-1", "80", { ...compose("a"), "wakeport.idle_timeout": "7m" });
    const taken = 'p-b-1: label wakeport.ports: service "b": port 80 is already in use by service "a"';
    assert.deepEqual(world.update(newcomer, successor), ["~ a", taken]);
  });

  test("lets two services exchange their ports", () => {
    const world = new World();
    world.update(a, b);
    assert.deepEqual(world.update(container("a", "81"), container("b", "80")), ["~ a", "~ b"]);
  });
});
