/** Containers that are created at wake, and removed at sleep if configured. */
import assert from "node:assert/strict";
import { echo } from "../support/engine/containers.ts";
import { Inside } from "../support/engine/inside.ts";
import type { Lab } from "../support/engine/lab.ts";
import { Made, madeTest } from "../support/engine/on-demand.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const IMAGE = "node:24-bookworm-slim";
const server = { image: IMAGE, command: ["node", "-e", echo()] };

madeTest("a container is created at wake as configured, kept at sleep, and started again", async (lab, made) => {
  const network = await lab.engine.network();
  const other = await lab.engine.network();
  const container = {
    ...server,
    env: { GREETING: "hello", COUNT: 3 },
    volumes: ["/tmp:/host/tmp:ro", "/scratch"],
    networks: [network, other],
    user: "1000:1000",
    memory: "64m",
    cpus: 0.5,
  };
  const wakeport = await lab.wakeport({ [made.name]: made.spec(container, { idle_timeout: "50ms" }) });
  assert.equal(wakeport.status.services[0]?.target, `container ${made.name} (${IMAGE})`);
  assert.deepEqual(await made.all(), []);
  await wakeport.greeted(made.name);

  const { Config: config, HostConfig: host, NetworkSettings: settings, Id: id, Name: name } = await made.inspect();
  assert.equal(name, `/wakeport-${made.name}`);
  assert.ok(config.Env.includes("GREETING=hello") && config.Env.includes("COUNT=3"));
  assert.equal(config.User, "1000:1000");
  assert.deepEqual(host.Binds, ["/tmp:/host/tmp:ro"]);
  assert.deepEqual(Object.keys(config.Volumes), ["/scratch"]);
  assert.deepEqual([host.Memory, host.NanoCpus], [64 * 1024 ** 2, 5e8]);
  assert.deepEqual(Object.keys(settings.Networks).toSorted(), [network, other].toSorted());
  const { "wakeport.created": created, "wakeport.service": service, "wakeport.owner": owner } = config.Labels;
  assert.deepEqual([created, service], ["1", made.name]);
  assert.match(owner ?? "", /^host:.+:\/.+\.yaml$/);

  await wakeport.until(made.name, "asleep");
  assert.equal(await made.isAwake(), false);
  await wakeport.greeted(made.name);
  assert.equal((await made.inspect()).Id, id, "the container was created again");
});

madeTest(
  "remove: the container is removed at sleep with its anonymous volume; the next client gets a new container",
  async (lab, made) => {
    const container = { ...server, volumes: ["/scratch"], remove: true };
    const wakeport = await lab.wakeport({ [made.name]: made.spec(container, { idle_timeout: "50ms" }) });
    const first = await wakeport.greeted(made.name);
    const { Id: id, Mounts: mounts } = await made.inspect();
    await eventually("the container is removed", async () => (await made.all()).length === 0);
    await wakeport.until(made.name, "asleep");
    const { Volumes: volumes } = await lab.engine.docker.listVolumes();
    assert.ok(!(volumes ?? []).some(({ Name }) => Name === mounts[0]?.Name), "the volume is left");
    assert.equal(wakeport.status.services[0]?.last_error, undefined);
    assert.notEqual(await wakeport.greeted(made.name), first);
    assert.notEqual((await made.inspect()).Id, id);
  },
);

madeTest("sleep: pause keeps a container with remove", async (lab, made) => {
  const rest = { idle_timeout: "50ms", sleep: "pause" };
  const wakeport = await lab.wakeport({ [made.name]: made.spec({ ...server, remove: true }, rest) });
  const first = await wakeport.greeted(made.name);
  await wakeport.until(made.name, "paused");
  assert.equal((await made.inspect()).State.Paused, true);
  assert.equal(await wakeport.greeted(made.name), first);
});

madeTest("two services with the same image are two containers", async (lab, one) => {
  await using two = new Made(lab.engine);
  const wakeport = await lab.wakeport({ [one.name]: one.spec(server), [two.name]: two.spec(server) });
  await Promise.all([wakeport.greeted(one.name), wakeport.greeted(two.name)]);
  assert.notEqual((await one.inspect()).Id, (await two.inspect()).Id);
});

/** Runs a wakeport until its container sleeps, and leaves the container. */
async function serveOnce(lab: Lab, made: Made, source: string, container: { image: string }): Promise<string> {
  const settings = made.spec(container, { idle_timeout: "50ms" });
  const wakeport = await lab.wakeport({ [made.name]: settings }, { source });
  await wakeport.greeted(made.name);
  await wakeport.until(made.name, "asleep");
  await wakeport.settle();
  await wakeport.close();
  assert.equal((await made.all()).length, 1);
  return (await made.inspect()).Id;
}

madeTest("a container is created again only if its configuration changed", async (lab, made) => {
  const source = `${made.name}.yaml`;
  const first = await serveOnce(lab, made, source, server);
  assert.equal(await serveOnce(lab, made, source, server), first);
  const changed = { ...server, env: { CHANGED: "1" } };
  assert.notEqual(await serveOnce(lab, made, source, changed), first);
});

madeTest("a container that fails to start is reported with its last output, and removed", async (lab, made) => {
  const container = { image: "wakeport-test/busybox", command: ["sh", "-c", "echo last words; exit 3"], remove: true };
  const wakeport = await lab.wakeport({ [made.name]: made.spec(container) });
  using peer = await wakeport.connect(made.name);
  assert.equal(await peer.ended(), "ECONNRESET");
  const { outcome, exit, lastLines } = await wakeport.activation();
  assert.equal(outcome, "exited");
  assert.equal(exit?.code, 3);
  assert.deepEqual(lastLines, ["last words"]);
  await eventually("the container is removed", async () => (await made.all()).length === 0);
});

madeTest("another container with the name is not touched, and is reported", async (lab, made) => {
  const theirs = await lab.container({ command: ["sleep", "3600"], name: `wakeport-${made.name}` });
  await theirs.start();
  const wakeport = await lab.wakeport({ [made.name]: made.spec(server) });
  using peer = await wakeport.connect(made.name);
  assert.equal(await peer.ended(), "ECONNRESET");
  const { error } = await wakeport.activation();
  assert.match(error?.message ?? "", /another container, not created by this wakeport, has that name/);
  assert.ok(await theirs.isAwake());
});

madeTest(
  "a container that is removed while it serves a client is created again for the next client",
  async (lab, made) => {
    const wakeport = await lab.wakeport({ [made.name]: made.spec(server) });
    const first = await wakeport.greeted(made.name);
    await lab.engine.docker.getContainer((await made.inspect()).Id).remove({ force: true });
    await wakeport.until(made.name, "asleep");
    assert.notEqual(await wakeport.greeted(made.name), first);
  },
);

madeTest("a missing network is reported with the remedy", async (lab, made) => {
  const wakeport = await lab.wakeport({ [made.name]: made.spec({ ...server, networks: ["nowhere"] }) });
  using peer = await wakeport.connect(made.name);
  assert.equal(await peer.ended(), "ECONNRESET");
  const { error } = await wakeport.activation();
  assert.match(error?.message ?? "", /network nowhere, which does not exist/);
});

madeTest(
  "in a container: the new container is in wakeport's own network, and named after its project",
  async (lab, made) => {
    const network = await lab.engine.network();
    const labels = { "com.docker.compose.project": made.name, "com.docker.compose.service": "porter" };
    const service = { container: made.container(server) };
    await using inside = await Inside.open(lab, { to: "", network, labels, service });
    assert.match(await inside.greeting(await inside.container.address(network)), /^220 /);
    const { Name: name, NetworkSettings: settings, Config: config } = await made.inspect();
    assert.equal(name, `/${made.name}-it-wakeport`);
    assert.deepEqual(Object.keys(settings.Networks), [network]);
    assert.equal(config.Labels["wakeport.owner"], `compose:${made.name}/porter`);
    // The container must be removed before its network.
    await made[Symbol.asyncDispose]();
  },
);

madeTest("in a container with several networks: networks must be configured", async (lab, made) => {
  const [one, two] = [await lab.engine.network(), await lab.engine.network()];
  const service = { container: made.container(server) };
  await using inside = await Inside.open(lab, { to: "", network: one, service });
  await inside.container.join(two);
  await inside.container.restart(0);
  const address = await inside.container.address(one);
  await eventually("the error is logged", async () => {
    using peer = inside.connect(address);
    await peer.ended();
    return (await inside.container.output()).includes("choose the networks of the container: networks: [");
  });
  assert.deepEqual(await made.all(), []);
});

madeTest("a container whose network was recreated is created again", async (lab, made) => {
  const Name = `${made.name}-net`;
  const network = await lab.engine.docker.createNetwork({ Name, Labels: lab.engine.label });
  const wakeport = await lab.wakeport({
    [made.name]: made.spec({ ...server, networks: [Name] }, { idle_timeout: "50ms" }),
  });
  await wakeport.greeted(made.name);
  await wakeport.until(made.name, "asleep");
  const { Id: id } = await made.inspect();
  await network.remove();
  const again = await lab.engine.docker.createNetwork({ Name, Labels: lab.engine.label });
  try {
    await wakeport.greeted(made.name);
    assert.notEqual((await made.inspect()).Id, id);
  } finally {
    await wakeport.settle();
    await wakeport.close();
    await made[Symbol.asyncDispose]();
    await again.remove();
  }
});
