import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { Activator } from "../../src/activation/activator.ts";
import { isWoken } from "../../src/config/config.ts";
import { parseConfig } from "../../src/config/parse.ts";
import { DependencyResolver } from "../../src/daemon/dependency-resolver.ts";
import { TargetRegistry } from "../../src/daemon/target-registry.ts";
import { KernelRoute } from "../../src/kernel-route/kernel-route.ts";
import { observer } from "../../src/telemetry/observer.ts";
import { FakeTarget } from "../support/activation/fake-target.ts";
import { policy } from "../support/activation/stage.ts";

const silent = observer({});

function activatorOf(name: string): Activator {
  const target = Object.assign(new FakeTarget(), { name });
  return new Activator({ target, probe: () => Promise.resolve(), policy, services: [name], observer: silent });
}

suite("DependencyResolver", () => {
  test("finds a circle among 60 targets with very many paths within 1 s", async () => {
    const names = Array.from({ length: 60 }, (_, index) => `container ${index}`);
    const activators = new Map(names.map((name) => [name, activatorOf(name)]));
    const ofService = (name: string): Activator => activators.get(name) ?? assert.fail();
    const lookup = { ofService, ofContainer: () => assert.fail(), oneShot: () => assert.fail() };
    const dependencies = new DependencyResolver(lookup, () => assert.fail());
    for (const [index, name] of names.entries()) {
      await dependencies.of(
        ofService(name).target,
        ofService(name).asHolder,
        names.slice(index + 1),
        AbortSignal.timeout(1_000),
      );
    }
    const [first, last] = [names[0] as string, names.at(-1) as string];
    const closing = dependencies.of(
      ofService(last).target,
      ofService(last).asHolder,
      [first],
      AbortSignal.timeout(1_000),
    );
    await assert.rejects(closing, /in a circle: container 59 → container 0 → .*container 59/);
  });

  test("distinguishes targets by name: TargetRegistry gives each process its own", () => {
    const text = ["a", "b"].map((name, index) => {
      const process = `{ command: [node, /srv/${name}/server.js], listen: 127.0.0.1:${9000 + index} }`;
      return `  ${name}: { ports: [${9100 + index}], process: ${process} }`;
    });
    const file = Buffer.from(`services:\n${text.join("\n")}\n`);
    const config = parseConfig(file, "w.yaml", { env: {}, adminListen: { host: "127.0.0.1", port: 9464 } });
    const { dependencyPolicy, services } = config;
    const host = { env: {}, uid: 0, gid: 0 };
    const kernelRoute = new KernelRoute({ settings: { hasSensor: false, usesIdent: false }, observer: silent });
    const registry = new TargetRegistry({
      engine: undefined,
      host,
      observer: silent,
      kernelRoute,
      offloadLimit: () => 0,
      dependencyPolicy,
    });
    registry.add(services.filter(isWoken));
    const names = registry.activators.map(({ target }) => target.name);
    assert.deepEqual(names, ["process node server.js", "process node server.js (b)"]);
  });
});
