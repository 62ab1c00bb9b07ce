/** Targets in all kinds of networks, woken by a wakeport in a container. */
import assert from "node:assert/strict";
import { echo } from "../support/engine/containers.ts";
import { Inside } from "../support/engine/inside.ts";
import { engineTest } from "../support/engine/lab.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const GREETING = /^220 \d+\n$/;

engineTest("in a container: the shared network is used", async (lab) => {
  const [alone, shared] = [await lab.engine.network(), await lab.engine.network()];
  const target = await lab.container({ program: echo(), network: alone });
  await target.join(shared);
  await using inside = await Inside.open(lab, { to: target.name, network: shared });
  assert.match(await inside.greeting(await inside.container.address(shared)), GREETING);
});

engineTest(
  "in a container: without a shared network, the log contains the missing line, and that line works",
  async (lab) => {
    const [ours, theirs] = [await lab.engine.network(), await lab.engine.network()];
    const target = await lab.container({ program: echo(), network: theirs });
    const labels = { "com.docker.compose.project": "demo", "com.docker.compose.service": "porter" };
    await using inside = await Inside.open(lab, { to: target.name, network: ours, labels });
    const address = await inside.container.address(ours);
    const reported = await inside.refusal(address);
    assert.ok(reported.includes(`(in ${theirs}) shares no network with wakeport (in ${ours})`), reported);
    const declared = `networks: { ${theirs}: { external: true } }`;
    assert.ok(
      reported.includes(`under porter:, write  networks: [${ours}, ${theirs}] and at the top level  ${declared}`),
      reported,
    );
    assert.ok(reported.includes(`docker network connect ${theirs} ${inside.container.name}`), reported);
    await inside.container.join(theirs);
    await eventually("the client is served", async () => {
      using peer = inside.connect(address);
      await eventually("a greeting or a reset", () => peer.text !== "" || peer.fate !== "open");
      return GREETING.test(peer.text);
    });
  },
);

engineTest("in a container: a target in the host network is dialled at the gateway", async (lab) => {
  const port = await freePort();
  const target = await lab.container({ program: echo({ port }), network: "host" });
  await using inside = await Inside.open(lab, { to: target.name, port });
  assert.match(await inside.greeting(await inside.container.address("bridge")), GREETING);
});

engineTest("in a container: for a target on the host's loopback, the timeout contains the reason", async (lab) => {
  const port = await freePort();
  const target = await lab.container({ program: echo({ port, host: "127.0.0.1" }), network: "host" });
  await using inside = await Inside.open(lab, { to: target.name, port, service: { start_timeout: "2s" } });
  const reported = await inside.refusal(await inside.container.address("bridge"));
  assert.match(
    reported,
    /was not ready within 2 s.*: .*uses the host's network, which has the address .*must listen on all addresses/,
  );
});

engineTest("in the host network: every bridge network is reached", async (lab) => {
  const network = await lab.engine.network();
  const target = await lab.container({ program: echo(), network });
  await using inside = await Inside.open(lab, { to: target.name, network: "host" });
  assert.match(await inside.greeting("127.0.0.1"), GREETING);
});

engineTest("in another container's network: the networks of that container count", async (lab) => {
  const network = await lab.engine.network();
  const holder = await lab.container({ command: ["sleep", "3600"], network });
  await holder.start();
  const target = await lab.container({ program: echo(), network });
  await using inside = await Inside.open(lab, { to: target.name, network: `container:${holder.id}` });
  assert.match(await inside.greeting(await holder.address(network)), GREETING);
});

engineTest("in a container: a target in wakeport's own network may listen on the loopback only", async (lab) => {
  const name = `wakeport-test-neighbour-${process.pid}`;
  await using inside = await Inside.open(lab, { to: name });
  const network = `container:${inside.container.id}`;
  await lab.container({ name, program: echo({ host: "127.0.0.1" }), network });
  assert.match(await inside.greeting(await inside.container.address("bridge")), GREETING);
});

engineTest(
  "in the network of its own target: rejected, because the network would stop with the target",
  async (lab) => {
    const target = await lab.container({ program: echo() });
    await target.start();
    await using inside = await Inside.open(lab, { to: target.name, network: `container:${target.id}` });
    const reported = await inside.refusal(await target.address("bridge"));
    assert.match(reported, /wakeport uses the network of container .*, and loses it when that container sleeps/);
  },
);
