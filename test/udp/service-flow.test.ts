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

/** A target whose looks wait for the test. */
class SlowTarget extends FakeTarget {
  news: Promise<void> = Promise.resolve();

  override async inspect(signal: AbortSignal): Promise<TargetStatus> {
    await this.news;
    return super.inspect(signal);
  }
}

interface Opened extends AsyncDisposable {
  readonly owner: ServiceFlow;
  readonly target: SlowTarget;
  readonly activator: Activator;
}

/** A flow of a client, and the target that it needs, which is ready. */
async function open(): Promise<Opened> {
  const target = new SlowTarget();
  const told = observer({});
  const probe = (): Promise<void> => Promise.resolve();
  const activator = new Activator({ target, probe, policy, services: ["dns"], observer: told });
  activator.open();
  target.comeUp();
  await eventually("the target is ready", () => activator.view.state === "ready");
  const waiting = new Slots({ limit: 1, what: "clients" });
  const owner = new ServiceFlow(
    {
      service: "dns",
      activator,
      observer: told,
      connections: { waiting, active: 0, open: new Set(), meter: { in: 0, out: 0 } },
      admit: () => assert.fail("it is not asked"),
      sourceOf: (address) => address,
    },
    { id: 1, sender: { address: "127.0.0.1", port: 5000 }, listener: "127.0.0.1:53/udp" },
  );
  const close = (): Promise<void> => activator.close({ drainMs: 0, leaveRunning: true });
  return { owner, target, activator, [Symbol.asyncDispose]: close };
}

test("the flow of a client that comes before a move of the target is known goes to the new address", async () => {
  await using one = await open();
  const news = Promise.withResolvers<void>();
  one.target.news = news.promise;
  one.target.moveTo(NEW);
  const reached = one.owner.reach(new AbortController().signal);
  news.resolve();
  using claim = await reached;
  assert.equal(claim.address, NEW);
  assert.equal(claim.signal.aborted, false);
});

test("the flow of a client waits for a target that has no address at this moment", async () => {
  await using one = await open();
  const news = Promise.withResolvers<void>();
  one.target.news = news.promise;
  one.target.moveTo("", new TargetError("no_route", "it has no address on any network"));
  const reached = one.owner.reach(new AbortController().signal);
  news.resolve();
  await one.activator.waitForInspection(new AbortController().signal);
  one.target.moveTo(NEW);
  using claim = await reached;
  assert.equal(claim.address, NEW);
});
