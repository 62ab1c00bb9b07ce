/** Which services labels make, and what becomes of those that there are, without an engine. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { Config } from "../../src/config/config.ts";
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

/** What is served, as containers and configurations come and go. */
class World {
  readonly found = new Map<string, LabelService>();
  readonly goneSince = new Map<string, number>();
  readonly refused = new Map<string, LabelProblem>();
  config = configOf();
  now = 0;

  /** @returns what becomes of services, and what is wrong */
  sees(...containers: readonly ListedContainer[]): string[] {
    const { steps, problems, againInMs } = reconcile(containers, this);
    for (const { from, to } of steps) {
      if (to !== undefined) this.found.set(to.service.name, to);
      else this.found.delete(from.service.name);
    }
    return [
      ...steps.map(({ from, to }) =>
        to === undefined ? `- ${from.service.name}` : `${from ? "~" : "+"} ${to.service.name}`,
      ),
      ...problems.map(({ container: of, problem }) => `${of}: ${problem.replace(/ \(.*$/, "")}`),
      ...(againInMs === undefined ? [] : [`again in ${againInMs}`]),
    ];
  }
}

const [a, b] = [container("a", "80"), container("b", "81")];

suite("services of labels", () => {
  test("come, change, linger and go", () => {
    const world = new World();
    assert.deepEqual(world.sees(a, b), ["+ a", "+ b"]);
    assert.deepEqual(world.sees(b, a), []);
    assert.deepEqual(world.sees(container("a", "82"), b), ["~ a"]);
    assert.deepEqual(world.sees(b), [`again in ${LINGER_MS}`]);
    world.now += 4_000;
    assert.deepEqual(world.sees(b), [`again in ${LINGER_MS - 4_000}`]);
    assert.deepEqual(world.sees(container("a", "82"), b), [], "it is back in time");
    assert.deepEqual(world.sees(b), [`again in ${LINGER_MS}`]);
    world.now += LINGER_MS;
    assert.deepEqual(world.sees(b), ["- a"]);
  });

  test("do not linger where somebody has their place, and come back when it is free", () => {
    const world = new World();
    world.sees(a);
    assert.deepEqual(world.sees(container("c", "80")), ["- a", "+ c"]);
    assert.deepEqual(world.sees(a), ["- c", "+ a"]);
    world.config = configOf("a: { ports: 90, container: other }");
    const taken = 'a: there is a service "a" already: choose another one with label wakeport.name';
    assert.deepEqual(world.sees(a), ["- a", taken]);
    world.config = configOf();
    assert.deepEqual(world.sees(a), ["+ a"]);
    world.config = configOf("u: { ports: [80/udp, 80], container: other }");
    assert.deepEqual(world.sees(a)[0], "- a");
    world.config = configOf();
    assert.deepEqual(world.sees(a), ["+ a"]);
  });

  test("are not made of a container whose compose labels another one has copied", () => {
    const labels = { "com.docker.compose.project": "p", "com.docker.compose.service": "s" };
    const number = (value: string) => ({ ...labels, "com.docker.compose.container-number": value });
    const world = new World();
    const [real, second] = [container("p-s-1", "80", number("1")), container("p-s-2", "80", number("2"))];
    assert.deepEqual(world.sees(real, second), ["+ s"]);
    const copy = container("copy", "81", number("1"));
    const reason = "the same compose project, service and number as copy, p-s-1: remove what compose did not create";
    const told = [`p-s-1: ${reason}`, `copy: ${reason}`, `again in ${LINGER_MS}`];
    assert.deepEqual(world.sees(real, copy), told);
    world.now += LINGER_MS;
    assert.deepEqual(world.sees(copy, real)[0], "- s");
    assert.deepEqual(world.sees(real), ["+ s"]);
  });

  test("keep their ports before those that ask for them later, in whatever order they are listed", () => {
    const world = new World();
    world.sees(a, b);
    const moved = container("a", "81");
    const refused = 'a: label wakeport.ports: service "a": port 81 is taken by service "b" already';
    // Its own port is not the one that it wants any more, but it is nobody else's either.
    for (const order of [
      [moved, b],
      [b, moved],
      [moved, b],
    ]) {
      assert.deepEqual(world.sees(...order), [refused, `again in ${LINGER_MS}`]);
    }
    world.now += LINGER_MS;
    assert.deepEqual(world.sees(moved, b), ["- a", refused]);
  });

  test("keep what they have, before newcomers, when what they want cannot be had", () => {
    const world = new World();
    world.sees(a);
    world.refused.set("a", { container: "a", problem: "82 is taken by a stranger" });
    const [moved, newcomer] = [container("a", "82"), container("c", "80")];
    const taken = 'c: label wakeport.ports: service "c": port 80 is taken by service "a" already';
    assert.deepEqual(world.sees(newcomer, moved), ["a: 82 is taken by a stranger", taken]);
    world.refused.clear();
    assert.deepEqual(world.sees(newcomer, moved), ["~ a", "+ c"]);
  });

  test("of newcomers, one that cannot be had is in nobody's way", () => {
    const world = new World();
    world.refused.set("x", { container: "x", problem: "83 is taken by a stranger" });
    assert.deepEqual(world.sees(container("x", "80, 83"), container("y", "80")), [
      "+ y",
      "x: 83 is taken by a stranger",
    ]);
  });

  test("are known by their compose service while compose gives the container another name", () => {
    const world = new World();
    const compose = (service: string): Record<string, string> => ({
      "com.docker.compose.project": "p",
      "com.docker.compose.service": service,
    });
    const served = container("p-a-1", "80", compose("a"));
    const newcomer = container("p-b-1", "80", compose("b"));
    world.sees(served);
    const successor = container("0123_p-a-1", "80", { ...compose("a"), "wakeport.idle_timeout": "7m" });
    const taken = 'p-b-1: label wakeport.ports: service "b": port 80 is taken by service "a" already';
    assert.deepEqual(world.sees(newcomer, successor), ["~ a", taken]);
  });

  test("may exchange their ports", () => {
    const world = new World();
    world.sees(a, b);
    assert.deepEqual(world.sees(container("a", "81"), container("b", "80")), ["~ a", "~ b"]);
  });
});
