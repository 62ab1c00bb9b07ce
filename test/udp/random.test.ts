/** Clients, a target and its losses in random order. Each datagram is delivered or counted, and no flow remains. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { ExitedError } from "../../src/activation/errors.ts";
import { randomRuns } from "../support/activation/random.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";
import { UdpServer } from "../support/net/udp.ts";
import { Stage } from "../support/udp/stage.ts";

checkLeaks();

const CLIENTS = 6;

const step = fc.oneof(
  { weight: 1, arbitrary: fc.constant({ act: "go down" } as const) },
  { weight: 1, arbitrary: fc.constant({ act: "come up" } as const) },
  { weight: 3, arbitrary: fc.constant({ act: "wait" } as const) },
  {
    weight: 8,
    arbitrary: fc.record({ act: fc.constant("send" as const), client: fc.nat(CLIENTS - 1), count: fc.nat(9) }),
  },
);

const scene = fc.record({
  flows: fc.integer({ min: 1, max: CLIENTS }),
  heldBytes: fc.integer({ min: 1, max: 6_000 }),
  steps: fc.array(step, { maxLength: 60 }),
});

type Scene = typeof scene extends fc.Arbitrary<infer S> ? S : never;

async function play({ steps, ...limits }: Scene): Promise<void> {
  using server = await UdpServer.open();
  await using stage = await Stage.open({ upstream: server.port, ...limits, flowTimeoutMs: 40 });
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => stage.client()));
  try {
    let sent = 0;
    for (const one of steps) {
      if (one.act === "go down") stage.goDown(new ExitedError("container dns", {}));
      else if (one.act === "come up") stage.comeUp();
      else if (one.act === "wait") await stage.received(sent);
      else {
        const texts = Array.from({ length: one.count }, (_, word) => `${one.client} ${sent + word}`);
        clients[one.client]?.send(...texts);
        sent += one.count;
      }
    }
    await stage.received(sent);
    stage.comeUp();
    const dropped = (): number => Object.values(stage.dropped).reduce((sum, count) => sum + count, 0);
    // A datagram that was sent to a target that went down just then may be sent twice.
    const delivered = (): Set<string> => new Set(server.received);
    await eventually("all is delivered or counted", () => delivered().size + dropped() >= sent);
    await eventually("no flow remains", () => stage.flows.size === 0 && stage.leases.size === 0);
    for (let client = 0; client < CLIENTS; client += 1) {
      const own = [...delivered()].filter((text) => text.startsWith(`${client} `)).map((text) => Number(text.slice(2)));
      assert.deepEqual(
        own,
        own.toSorted((a, b) => a - b),
        `client ${client}: in order`,
      );
    }
  } finally {
    for (const client of clients) client[Symbol.dispose]();
  }
}

suite("Flows in random situations", () => {
  test("deliver or count each datagram, in order, and end", async (t) => {
    await fc.assert(fc.asyncProperty(scene, play), randomRuns(t, 20));
  });
});
