/** A wakeport in a container does not stop itself, or containers that it needs. */
import assert from "node:assert/strict";
import { type ContainerSpec, echo, type TestContainer } from "../support/engine/containers.ts";
import { Inside } from "../support/engine/inside.ts";
import { engineTest } from "../support/engine/lab.ts";
import { Project } from "../support/engine/project.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const GREETING = /^220 \d+\n$/;
const SHORT = { idle_timeout: "300ms", sleep: "stop" };
const sleeper: ContainerSpec = { command: ["sh", "-c", 'trap "exit 0" TERM; sleep 600 & wait'] };

async function asleep(container: TestContainer): Promise<void> {
  await eventually(`${container.name} is down`, async () => !(await container.isAwake()));
}

/** The labels that compose writes on the service called wakeport of a project. */
function composeLabels(project: Project): Record<string, string> {
  return {
    "com.docker.compose.project": project.name,
    "com.docker.compose.service": "wakeport",
    "com.docker.compose.container-number": "1",
    "com.docker.compose.oneoff": "False",
  };
}

engineTest("a target that depends on wakeport's own container sleeps, and wakeport stays up", async (lab) => {
  const network = await lab.engine.network();
  const project = new Project(lab);
  const target = await project.make("app", { program: echo(), network }, "wakeport:service_started:false");
  const labels = composeLabels(project);
  await using inside = await Inside.open(lab, { to: target.name, network, labels, service: SHORT });
  const address = await inside.container.address(network);
  assert.match(await inside.greeting(address), GREETING);
  await asleep(target);
  // Twice, because wakeport would stop itself one idle timeout later.
  assert.match(await inside.greeting(address), GREETING);
  await asleep(target);
  assert.ok(await inside.container.isAwake());
});

engineTest("a target in wakeport's own network sleeps, and wakeport stays up", async (lab) => {
  const network = await lab.engine.network();
  const holder = await lab.container({ ...sleeper, network });
  await holder.start();
  const target = await lab.container({ program: echo(), network: `container:${holder.id}` });
  const service = { ...SHORT };
  await using inside = await Inside.open(lab, { to: target.name, network: `container:${holder.id}`, service });
  const address = await holder.address(network);
  assert.match(await inside.greeting(address), GREETING);
  await asleep(target);
  assert.match(await inside.greeting(address), GREETING);
  await asleep(target);
  assert.ok(await inside.container.isAwake());
  assert.ok(await holder.isAwake());
});

engineTest("a target that wakeport's own container depends on sleeps nevertheless", async (lab) => {
  const network = await lab.engine.network();
  const project = new Project(lab);
  const target = await project.make("app", { program: echo(), network });
  const labels = { ...composeLabels(project), "com.docker.compose.depends_on": "app:service_started:false" };
  await using inside = await Inside.open(lab, { to: target.name, network, labels, service: SHORT });
  assert.match(await inside.greeting(await inside.container.address(network)), GREETING);
  await asleep(target);
});

engineTest("the container whose network wakeport uses is rejected as a target, and stays up", async (lab) => {
  const network = await lab.engine.network();
  const holder = await lab.container({ program: echo(), network });
  await holder.start();
  await using inside = await Inside.open(lab, {
    to: holder.name,
    network: `container:${holder.id}`,
    service: SHORT,
  });
  assert.match(await inside.refusal(await holder.address(network)), /wakeport uses the network of container/);
  assert.ok(await holder.isAwake());
  assert.ok(await inside.container.isAwake());
});
