/** A running target whose address changes: a container that is moved between networks. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { MovedAddressError, StartFailedError } from "../../src/activation/errors.ts";
import { TargetError } from "../../src/errors.ts";
import { Stage } from "../support/activation/stage.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const noRoute = new TargetError("no_route", "it shares no network with wakeport");

suite("a target whose address changes", () => {
  test("keeps its leases, which get the new address", async () => {
    using stage = new Stage();
    const client = await stage.wake();
    const { moved } = client.lease!;
    stage.target.moveTo("10.9.9.9");
    await stage.settle();
    assert.ok(client.isHeld);
    assert.equal(client.lease?.address, "10.9.9.9");
    assert.ok(moved.reason instanceof MovedAddressError);
    const next = stage.connect();
    await stage.settle();
    assert.equal(next.lease?.address, "10.9.9.9");
    assert.equal(next.lease?.moved.aborted, false);
    assert.equal(stage.sleeps.length, 0);
  });

  test("during its start is probed at the new address", async () => {
    using stage = new Stage();
    stage.activator.open();
    stage.answersProbes = false;
    const client = stage.connect();
    await stage.settle();
    stage.target.finishStart();
    await stage.settle();
    stage.target.moveTo("10.9.9.9");
    stage.answersProbes = true;
    await stage.advance(1_000);
    assert.equal(stage.target.starts.length, 2);
    stage.target.finishStart();
    await stage.settle();
    assert.equal(client.lease?.address, "10.9.9.9");
  });
});

suite("a check of a target that does not accept connections", () => {
  test("probes the new address of the target", async () => {
    using stage = new Stage();
    const client = await stage.wake();
    stage.answersProbes = false;
    const check = stage.activator.verify(client.lease!);
    await stage.settle();
    const old = stage.probes.at(-1);
    stage.answersProbes = true;
    stage.target.moveTo("10.9.9.9");
    await stage.settle();
    await check;
    assert.ok(old?.signal.aborted);
    assert.equal(client.lease?.address, "10.9.9.9");
  });
});

suite("a target that loses its address", () => {
  test("lets new clients wait until it has an address again", async () => {
    using stage = new Stage();
    const first = await stage.wake();
    stage.target.moveTo("", noRoute);
    await stage.settle();
    const next = stage.connect();
    await stage.advance(1_000);
    assert.ok(next.isWaiting);
    assert.ok(first.isHeld);
    stage.target.moveTo("10.9.9.9");
    await stage.advance(200);
    assert.ok(next.isHeld);
    assert.equal(next.lease?.address, "10.9.9.9");
    assert.equal(next.lease?.moved.aborted, false);
  });

  test("rejects clients with the reason after 3 s, and stays up", async () => {
    using stage = new Stage();
    const first = await stage.wake();
    stage.target.moveTo("", noRoute);
    await stage.settle();
    const next = stage.connect();
    await stage.advance(4_000);
    assert.ok(next.error instanceof StartFailedError);
    assert.match(next.error.message, /shares no network/);
    assert.ok(first.isHeld);
    assert.equal(stage.state, "ready");
  });

  test("is not adopted without an address", async () => {
    using stage = new Stage();
    stage.activator.open();
    stage.target.comeUp();
    stage.target.moveTo("", noRoute);
    await stage.advance(1_000);
    assert.equal(stage.state, "asleep");
    stage.target.moveTo("10.9.9.9");
    await stage.settle();
    assert.equal(stage.state, "ready");
    assert.equal(stage.target.stops.length, 0);
  });
});
