/** A target whose address changes while it lives: a container that is moved between networks. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { MovedAddressError, StartFailedError } from "../../src/activation/errors.ts";
import { TargetError } from "../../src/errors.ts";
import { Stage } from "../support/activation/stage.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const noRoute = new TargetError("no_route", "it shares no network with wakeport");

suite("a target that moves", () => {
  test("keeps its leases, which then have the new address", async () => {
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

  test("while it is probed is probed again at the new address", async () => {
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

suite("a check of a target that does not take connections", () => {
  test("probes the new address when the target moves", async () => {
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
  test("holds new clients until it has one again", async () => {
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

  test("for longer rejects clients with the reason, and stays up", async () => {
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

  test("and has none when it is found running is not adopted before it has one", async () => {
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
