/** Compose replaces a container while it serves clients: the new container serves, the old one is not touched. */
import assert from "node:assert/strict";
import { cannotCompose } from "../support/engine/compose.ts";
import { ComposeProject, SERVICE } from "../support/engine/compose-project.ts";
import { echo } from "../support/engine/containers.ts";
import { engineTest, startsOf } from "../support/engine/lab.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const WAITING = 20;
/** Long enough for compose to act during the start. */
const SLOW_MS = 1_500;

const references = {
  "its name": (project: ComposeProject) => `${project.name}-named`,
  "its labels": (project: ComposeProject) => ({ project: project.name, service: SERVICE }),
};

if ((await cannotCompose()) === false) {
  for (const [by, reference] of Object.entries(references)) {
    engineTest(`compose recreates a target, configured by ${by}, while clients wait for it`, async (lab) => {
      await using project = await ComposeProject.create(lab, echo({ delayMs: SLOW_MS }), by === "its name");
      const old = await project.container();
      const wakeport = await lab.wakeport({ echo: { to: old, container: reference(project), start_timeout: "20s" } });
      const clients = await Promise.all(Array.from({ length: WAITING }, () => wakeport.connect("echo")));
      await eventually("the target is started", () => old.isAwake());
      await project.compose("up", "--detach", "--force-recreate");
      const next = await project.container();
      wakeport.mayUse("echo", next);
      assert.notEqual(next.id, old.id);
      for (const client of clients) {
        await eventually("a reply", () => client.received > 0 || client.fate !== "open");
        assert.match(client.text, /^220 /, `instead of a greeting: ${client.fate}`);
        client.end();
        await client.closes();
      }
      assert.equal(new Set(clients.map(({ text }) => text)).size, 1, "clients were served by two containers");
      assert.equal(await startsOf(lab, old), 1, "the old container was started again");
      await wakeport.greeted("echo");
      await wakeport.settle();
      await wakeport.close();
    });
  }

  engineTest("compose down and up: the target is missing meanwhile, and serves again", async (lab) => {
    await using project = await ComposeProject.create(lab, echo(), false);
    const old = await project.container();
    const container = references["its labels"](project);
    const wakeport = await lab.wakeport({ echo: { to: old, container } });
    const greeting = await wakeport.greeted("echo");
    await project.compose("down");
    await wakeport.until("echo", "missing");
    using early = await wakeport.connect("echo");
    assert.equal(await early.ended(), "ECONNRESET");
    await project.compose("up", "--no-start");
    await wakeport.until("echo", "asleep");
    wakeport.mayUse("echo", await project.container());
    assert.notEqual(await wakeport.greeted("echo"), greeting);
    await wakeport.settle();
    await wakeport.close();
  });
}
