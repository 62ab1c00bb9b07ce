import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { scheduler } from "node:timers/promises";
import { delivered } from "../../src/net/send-queue.ts";
import { KIB, MIB, payload } from "../bench/payload.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";
import { pair, queuedTo } from "../support/net/tcp.ts";

checkLeaks();

suite("delivered()", () => {
  test("calls back whenever the peer has acknowledged bytes, and resolves after the last", async () => {
    using link = await pair();
    const { near, far } = link;
    far.pause();
    near.write(payload(16 * MIB));
    await eventually("the kernel holds bytes", () => queuedTo(near) > 64 * KIB);
    let progress = 0;
    let isDelivered = false;
    const done = delivered(near, () => {
      progress += 1;
    }).then(() => {
      isDelivered = true;
    });
    const pause = (): void => far.pause();
    far.socket.on("data", pause);
    // A piece in 20 ms: many polls see the queue before it is empty.
    while (progress < 2) {
      assert.equal(isDelivered, false);
      far.resume();
      await scheduler.wait(20);
    }
    far.socket.off("data", pause);
    far.resume();
    await done;
    assert.equal(far.received, 16 * MIB);
  });

  test("resolves if the connection is closed", async () => {
    using link = await pair();
    const { near, far } = link;
    far.pause();
    near.write(payload(16 * MIB));
    const done = delivered(near, () => {});
    near.destroy();
    await done;
  });
});
