/** Scans of a service with `wake_on: first_byte`, on a real engine. */
import assert from "node:assert/strict";
import { suite } from "node:test";
import { engineTest, startsOf } from "../support/engine/lab.ts";
import { eventually } from "../support/eventually.ts";

const SCANS = 1_000;
/** Replies after it has received something. */
const program = `require("node:net").createServer((socket) => {
  socket.on("error", () => {}).on("data", (word) => socket.end("got " + word));
}).listen(7000); process.on("SIGTERM", () => process.exit(0));`;

suite("wake_on: first_byte", () => {
  engineTest(
    `${SCANS} scans that connect and close start nothing, and a client that sends a byte starts the target`,
    async (lab) => {
      const container = await lab.container({ program });
      const wakeport = await lab.wakeport({
        web: { to: container, wake_on: "first_byte", idle_timeout: "200ms" },
      });
      for (let scans = 0; scans < SCANS; scans += 1) {
        using scan = await wakeport.connect("web");
        if (scans % 2 === 0) scan.end();
        else scan.reset();
      }
      await eventually("all connections are reported", () => wakeport.record.connections.length === SCANS, 60_000);
      const outcomes = new Set(wakeport.record.connections.map(({ outcome }) => outcome));
      assert.deepEqual([...outcomes], ["client_gone"]);
      assert.equal(await startsOf(lab, container), 0);
      assert.equal(wakeport.state("web"), "asleep");
      {
        using client = await wakeport.connect("web");
        client.send("word");
        assert.equal(await client.ended(), "ended");
        assert.equal(client.text, "got word");
      }
      assert.equal(await startsOf(lab, container), 1);
      using silent = await wakeport.connect("web");
      await wakeport.until("web", "asleep");
      assert.equal(silent.fate, "open", "a silent connection does not keep the target awake");
      silent.end();
      await silent.ended();
    },
  );
});
