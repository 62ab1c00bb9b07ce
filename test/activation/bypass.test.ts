/** Connections that do not pass through wakeport, and their effect on the activator. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { Bypass } from "../../src/activation/bypass.ts";
import type { Lease } from "../../src/activation/lease.ts";
import type { Upstream } from "../../src/activation/target.ts";
import { KeptError } from "../../src/errors.ts";
import { policy, Stage } from "../support/activation/stage.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

/** Records the calls. Connections exist as the test sets them. */
class FakeBypass implements Bypass {
  readonly calls: string[] = [];
  connections = 0;
  lease: Lease | undefined;
  #address: string | undefined;

  update(upstream: Upstream | undefined): void {
    if (upstream?.address === this.#address) return;
    this.#address = upstream?.address;
    this.calls.push(upstream === undefined ? "closed" : "open");
  }

  drop(): void {
    if (this.calls.at(-1) !== "dropped") this.calls.push("dropped");
  }

  async refresh(): Promise<void> {
    this.calls.push("refreshed");
  }

  async beforeSleep(): Promise<void> {
    this.calls.push("beforeSleep");
    if (this.connections > 0) throw new KeptError(`${this.connections} forwarded connections`);
  }

  shutDown(leaveRunning: boolean): void {
    this.calls.push(leaveRunning ? "left" : "shut down");
  }
}

suite("a bypass", () => {
  test("is open while the target is ready, closed before the sleep, and dropped after it", async () => {
    const bypass = new FakeBypass();
    using stage = new Stage({}, { bypass });
    await stage.wakeAndIdle();
    assert.equal(stage.target.stops.length, 1);
    assert.deepEqual(bypass.calls, ["open", "refreshed", "beforeSleep", "closed"]);
    stage.target.finishStop();
    await stage.settle();
    assert.deepEqual(bypass.calls.slice(4), ["dropped"]);
  });

  test("with connections keeps the target up, which is probed and opened again", async () => {
    const bypass = new FakeBypass();
    using stage = new Stage({}, { bypass });
    bypass.connections = 2;
    await stage.wakeAndIdle();
    assert.equal(stage.target.stops.length, 0);
    assert.equal(stage.state, "ready");
    assert.deepEqual(
      stage.keptAwake.map(({ uses }) => uses),
      [["2 forwarded connections"]],
    );
    assert.deepEqual(bypass.calls, ["open", "refreshed", "beforeSleep", "closed", "open"]);
    bypass.connections = 0;
    await stage.advance(policy.idleTimeoutMs);
    assert.equal(stage.target.stops.length, 1);
  });

  test("cancels the idle timeout by a lease that it acquires at its end", async () => {
    const bypass = new FakeBypass();
    using stage = new Stage({}, { bypass });
    const acquire = async (): Promise<void> => {
      bypass.lease = await stage.activator.acquire(new AbortController().signal);
    };
    bypass.refresh = acquire;
    await stage.wakeAndIdle();
    assert.equal(stage.state, "ready");
    await stage.advance(2 * policy.idleTimeoutMs);
    assert.equal(stage.state, "ready");
    bypass.refresh = async () => {};
    bypass.lease?.[Symbol.dispose]();
    await stage.advance(policy.idleTimeoutMs);
    assert.equal(stage.state, "stopping");
  });

  test("is closed while another process has paused the target", async () => {
    const bypass = new FakeBypass();
    using stage = new Stage({}, { bypass });
    const client = await stage.wake();
    stage.target.pause();
    await stage.settle();
    assert.deepEqual(bypass.calls, ["open", "closed"]);
    stage.target.unpause();
    await stage.settle();
    assert.deepEqual(bypass.calls.slice(2), ["open"]);
    client.release();
  });

  test("is dropped when the target exits", async () => {
    const bypass = new FakeBypass();
    using stage = new Stage({}, { bypass });
    await stage.wake();
    stage.target.goDown({ code: 1 });
    await stage.settle();
    assert.deepEqual(bypass.calls, ["open", "closed", "dropped"]);
  });

  test("is shut down before the drain, and not closed again by the stop at its end", async () => {
    const bypass = new FakeBypass();
    using stage = new Stage({}, { bypass });
    bypass.connections = 1;
    await stage.wake();
    void stage.activator.close({ drainMs: 1_000, leaveRunning: false });
    assert.deepEqual(bypass.calls, ["open", "shut down", "closed"]);
    await stage.advance(1_000);
    assert.equal(stage.target.stops.length, 1);
    assert.equal(bypass.calls.includes("beforeSleep"), false);
    stage.target.finishStop();
    await stage.settle();
  });
});
