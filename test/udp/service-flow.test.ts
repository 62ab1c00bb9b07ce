import assert from "node:assert/strict";
import { test } from "node:test";
import { Activator } from "../../src/activation/activator.ts";
import type { TargetStatus } from "../../src/activation/target.ts";
import { TargetError } from "../../src/errors.ts";
import { Slots } from "../../src/proxy/admission/slots.ts";
import { observer } from "../../src/telemetry/observer.ts";
import { ServiceFlow } from "../../src/udp/service-flow.ts";
import { FakeTarget } from "../support/activation/fake-target.ts";
import { policy } from "../support/activation/stage.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const NEW = "10.9.9.9";

/** A target whose inspect() waits for the test. */
class SlowTarget extends FakeTarget {
  inspected: Promise<void> = Promise.resolve();

  override async inspect(signal: AbortSignal): Promise<TargetStatus> {
    await this.inspected;
    return super.inspect(signal);
  }
}

interface Opened extends AsyncDisposable {
  readonly flow: ServiceFlow;
  readonly target: SlowTarget;
  readonly activator: Activator;
}

/** Returns a flow and its target, which is ready. */
async function open(): Promise<Opened> {
  const target = new SlowTarget();
  const silent = observer({});
  const probe = (): Promise<void> => Promise.resolve();
  const activator = new Activator({ target, probe, policy, services: ["dns"], observer: silent });
  activator.open();
  target.comeUp();
  await eventually("the target is ready", () => activator.view.state === "ready");
  const waiting = new Slots({ limit: 1, what: "clients" });
  const flow = new ServiceFlow(
    {
      service: "dns",
      activator,
      observer: silent,
      connections: { waiting, active: 0, open: new Set(), meter: { in: 0, out: 0 } },
      admit: () => assert.fail("admit() is not called"),
      sourceOf: (address) => address,
    },
    { id: 1, sender: { address: "127.0.0.1", port: 5000 }, listener: "127.0.0.1:53/udp" },
  );
  const close = (): Promise<void> => activator.close({ drainMs: 0, leaveRunning: true });
  return { flow, target, activator, [Symbol.asyncDispose]: close };
}

test("acquire() during a move of the target waits for the new address", async () => {
  await using one = await open();
  const inspected = Promise.withResolvers<void>();
  one.target.inspected = inspected.promise;
  one.target.moveTo(NEW);
  const acquired = one.flow.acquire(new AbortController().signal);
  inspected.resolve();
  using lease = await acquired;
  assert.equal(lease.address, NEW);
  assert.equal(lease.signal.aborted, false);
});

test("acquire() waits for the address of a target that has none", async () => {
  await using one = await open();
  const inspected = Promise.withResolvers<void>();
  one.target.inspected = inspected.promise;
  one.target.moveTo("", new TargetError("no_route", "it has no address on any network"));
  const acquired = one.flow.acquire(new AbortController().signal);
  inspected.resolve();
  await one.activator.waitForInspection(new AbortController().signal);
  one.target.moveTo(NEW);
  using lease = await acquired;
  assert.equal(lease.address, NEW);
});
