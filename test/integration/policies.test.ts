/** Targets with a restart policy, or with a stop signal that they ignore. */
import assert from "node:assert/strict";
import { echo } from "../support/engine/containers.ts";
import { engineTest, startsOf } from "../support/engine/lab.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

engineTest('"restart: always" is warned about once, with the remedy', async (lab) => {
  const target = await lab.container({ program: echo(), restart: "always" });
  const wakeport = await lab.wakeport({ echo: { to: target, idle_timeout: "100ms" } });
  for (let wake = 0; wake < 2; wake += 1) {
    await wakeport.greeted("echo");
    await wakeport.until("echo", "asleep");
  }
  const [warning, ...more] = wakeport.record.warnings;
  assert.equal(warning?.event, "target.restart_policy");
  assert.match(warning.message, /restart: always.*set restart: "no"/);
  assert.deepEqual(more, []);
});

engineTest("a container created with --rm is warned about once, before its first client", async (lab) => {
  const target = await lab.container({ program: echo(), autoRemove: true });
  const wakeport = await lab.wakeport({ echo: { to: target } });
  await eventually("the warning is reported", () => wakeport.record.warnings.length > 0);
  const client = await wakeport.connect("echo");
  await client.ended();
  const [warning, ...more] = wakeport.record.warnings;
  assert.equal(warning?.event, "target.refused");
  assert.match(warning.message, /created with --rm.*create it again without --rm/);
  assert.deepEqual(more, []);
});

engineTest("a crash that a restart policy repairs only delays the client", async (lab) => {
  // The first run leaves a file and exits, the second run finds the file and serves.
  const program = `
    const fs = require("node:fs");
    if (fs.existsSync("/mark")) { ${echo()} } else { fs.writeFileSync("/mark", ""); setTimeout(() => process.exit(3), 100); }
  `;
  const target = await lab.container({ program, restart: "on-failure" });
  const wakeport = await lab.wakeport({ echo: { to: target } });
  await wakeport.greeted("echo");
  assert.deepEqual(
    wakeport.record.activations.map(({ outcome }) => outcome),
    ["ready"],
  );
  assert.equal(await startsOf(lab, target), 2);
});

engineTest(
  "a crash loop under a restart policy ends with the start timeout, and the container is stopped",
  async (lab) => {
    const target = await lab.container({ command: ["sh", "-c", "exit 3"], restart: "always" });
    const wakeport = await lab.wakeport({ loop: { to: target, start_timeout: "1s" } });
    using client = await wakeport.connect("loop");
    assert.equal(await client.ended(), "ECONNRESET");
    assert.equal((await wakeport.activation()).outcome, "timeout");
    await wakeport.until("loop", "asleep");
    const state = await target.state();
    assert.deepEqual([state?.Running, state?.Restarting], [false, false]);
  },
);

engineTest("a crash in use that a restart policy repairs: the restarted target is adopted", async (lab) => {
  // The engine does not restart a container that was killed through the engine.
  const crash = 'require("node:net").createServer((one) => one.on("data", () => process.exit(5))).listen(7001);';
  const target = await lab.container({ program: `${echo()} ${crash}`, restart: "always" });
  const wakeport = await lab.wakeport({ echo: { to: target }, crash: { to: target, port: 7001 } });
  using client = await wakeport.connect("echo");
  await eventually("a greeting", () => client.text.endsWith("\n"));
  using killer = await wakeport.connect("crash");
  killer.send("now");
  for (const peer of [client, killer]) {
    assert.notEqual(await peer.ended(), "open");
    peer.end();
  }
  await eventually("the target is adopted", () => wakeport.record.activations.some(({ adopted }) => adopted));
  await eventually("the crash is reported", () => wakeport.record.sleeps[0]?.reason === "crash");
  await wakeport.until("echo", "ready");
  assert.notEqual(await wakeport.greeted("echo"), client.text);
});

engineTest("a target that ignores its stop signal is warned about once, with the remedy", async (lab) => {
  const target = await lab.container({ program: echo({ onTerm: "ignore" }) });
  const wakeport = await lab.wakeport({ echo: { to: target, idle_timeout: "100ms", stop_grace: "1s" } });
  for (let wake = 0; wake < 2; wake += 1) {
    await wakeport.greeted("echo");
    await wakeport.until("echo", "asleep");
  }
  const [warning, ...more] = wakeport.record.warnings;
  assert.equal(warning?.event, "target.ignores_stop");
  assert.match(warning.message, /did not end within 1 s of its stop signal and was killed.*init: true/);
  assert.deepEqual(more, []);
});
