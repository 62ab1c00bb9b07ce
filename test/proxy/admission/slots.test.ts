import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import {
  connectionLimit,
  type Rank,
  ranks,
  type Slot,
  SlotError,
  Slots,
  type SlotsOptions,
} from "../../../src/proxy/admission/slots.ts";
import { randomRuns } from "../../support/activation/random.ts";

interface Taken {
  readonly name: string;
  readonly slot: Slot;
}

/** Slots, with the names of the evicted ones. */
class Stage {
  readonly slots: Slots;
  readonly evicted: string[] = [];
  #count = 0;

  constructor(options: Partial<SlotsOptions>) {
    this.slots = new Slots({ limit: 4, what: "connections", ...options });
  }

  /** @param rank eviction rank; absent: the slot is not offered */
  take(source: string, rank?: Rank | (() => Rank | undefined), service = "web"): Taken {
    this.#count += 1;
    const name = `${source} #${this.#count}`;
    const slot = this.slots.take({ service, source });
    if (rank !== undefined) {
      slot.offer(typeof rank === "function" ? rank : () => rank, () => this.evicted.push(name));
    }
    return { name, slot };
  }

  takeMany(count: number, ...what: Parameters<Stage["take"]>): Taken[] {
    return Array.from({ length: count }, () => this.take(...what));
  }
}

suite("Slots", () => {
  test("deny a client beyond the limit, and name the limit", () => {
    const { slots } = new Stage({ limit: 2, what: 'clients waiting for service "ftp"' });
    const holder = { service: "ftp", source: "10.0.0.1" };
    slots.take(holder);
    slots.take(holder);
    assert.equal(slots.prepare(holder), undefined);
    assert.throws(() => slots.take(holder), {
      name: "SlotError",
      reason: "waiting_limit",
      message: 'clients waiting for service "ftp": limit of 2 reached',
    });
    assert.equal(slots.taken, 2);
  });

  test("have one free slot after a slot was disposed, once or twice", () => {
    const stage = new Stage({ limit: 1 });
    const first = stage.take("a");
    assert.throws(() => stage.take("a"), SlotError);
    first.slot[Symbol.dispose]();
    first.slot[Symbol.dispose]();
    assert.equal(stage.slots.taken, 0);
    stage.take("a");
    assert.equal(stage.slots.taken, 1);
  });

  test("evict the oldest idle slot of any source", () => {
    const stage = new Stage({ limit: 3 });
    stage.take("a");
    const [first, second] = stage.takeMany(2, "a", ranks.idle);
    stage.take("a");
    stage.take("b");
    assert.deepEqual(stage.evicted, [first?.name, second?.name]);
    assert.throws(() => stage.take("c"), SlotError);
    assert.equal(stage.slots.taken, 3);
  });

  test("evict no waiting client whose source has as many as the new client's would have", () => {
    const stage = new Stage({ limit: 4 });
    stage.takeMany(4, "a", ranks.silent);
    assert.throws(() => stage.take("a"), SlotError);
    stage.takeMany(2, "b", ranks.silent);
    assert.throws(() => stage.take("b"), SlotError);
    assert.deepEqual(stage.evicted, ["a #1", "a #2"]);
  });

  test("evict spent slots first, then idle, then silent ones", () => {
    const stage = new Stage({ limit: 8 });
    const kinds = [ranks.waiting, ranks.silent, ranks.idle, ranks.spent];
    for (const kind of kinds) stage.takeMany(2, "a", kind);
    stage.takeMany(3, "b");
    assert.deepEqual(stage.evicted, ["a #7", "a #8", "a #5"]);
    stage.take("c");
    stage.take("c");
    assert.deepEqual(stage.evicted.slice(3), ["a #6", "a #3"]);
  });

  test("evict from the service with most, and there from the source with most", () => {
    const stage = new Stage({ limit: 7 });
    stage.takeMany(2, "a", ranks.idle, "small");
    stage.take("b", ranks.idle, "large");
    stage.takeMany(3, "c", ranks.idle, "large");
    stage.take("d", ranks.idle, "large");
    stage.take("e", undefined, "new");
    assert.deepEqual(stage.evicted, ["c #4"]);
  });

  test("use the current rank, and never evict a kept slot", () => {
    const stage = new Stage({ limit: 2 });
    let rank: Rank | undefined;
    stage.take("a", () => rank);
    const kept = stage.take("a", ranks.idle);
    kept.slot.keep();
    assert.throws(() => stage.take("b"), SlotError);
    rank = ranks.idle;
    stage.take("b");
    assert.deepEqual(stage.evicted, ["a #1"]);
  });

  test("examine a limited number for each new client, and all in turn", () => {
    const limit = 2_000;
    const stage = new Stage({ limit });
    let asked = 0;
    const busy = (): undefined => {
      asked += 1;
      return undefined;
    };
    stage.takeMany(limit - 1, "a", busy);
    stage.take("b", ranks.idle);
    let denied = 0;
    while (stage.evicted.length === 0) {
      asked = 0;
      try {
        stage.take("c");
      } catch {
        denied += 1;
      }
      assert.ok(asked <= 256);
    }
    assert.ok(denied <= limit / 256);
  });

  test("choose first and take afterwards, also with more slots than are examined at a time", () => {
    const stage = new Stage({ limit: 600 });
    stage.takeMany(100, "a", () => undefined);
    const idle = stage.take("a", ranks.idle);
    stage.takeMany(499, "a", () => undefined);
    const holder = { service: "web", source: "b" };
    let take: (() => Slot) | undefined;
    for (let attempt = 0; attempt < 3; attempt += 1) take ??= stage.slots.prepare(holder);
    assert.deepEqual([stage.evicted, stage.slots.taken], [[], 600]);
    assert.equal(take?.().holder, holder);
    assert.deepEqual([stage.evicted, stage.slots.taken], [[idle.name], 600]);
  });

  test("shared by services: no source and no service can take all, and a third service gets a slot", () => {
    const stage = new Stage({ limit: 80, services: () => 3 });
    const takeAll = (source: string, service: string): number => {
      for (let count = 0; ; count += 1) {
        try {
          stage.take(source, undefined, service);
        } catch (error) {
          assert.ok(error instanceof SlotError);
          return count;
        }
      }
    };
    assert.equal(takeAll("a", "web"), 61);
    assert.throws(() => stage.take("a"), /a has 61 of 80 slots, the rest is kept for other sources/);
    assert.equal(takeAll("b", "web"), 10);
    assert.throws(() => stage.take("c"), /service "web" has 71 of 80 slots, the rest is kept for other services/);
    for (const service of ["dns", "ftp"]) assert.ok(takeAll(`only ${service}`, service) > 0);
  });

  test("of a single service: several sources can take all", () => {
    const stage = new Stage({ limit: 8, services: () => 1 });
    for (let source = 0; source < 8; source += 1) stage.take(`source ${source}`);
    assert.equal(stage.slots.taken, 8);
  });

  test("at its share, a source evicts only its own slots, although others are idle", () => {
    const stage = new Stage({ limit: 8, services: () => 1 });
    stage.take("b", ranks.idle);
    const own = stage.takeMany(6, "a", ranks.idle);
    stage.take("a");
    assert.deepEqual(stage.evicted, [own[0]?.name]);
  });

  test("at random: never exceed the limit, and each slot is freed once", (t) => {
    const sources = ["a", "b", "c"];
    const services = ["web", "dns"];
    const step = fc.record({
      source: fc.constantFrom(...sources),
      service: fc.constantFrom(...services),
      rank: fc.constantFrom(undefined, ...Object.values(ranks)),
      leaves: fc.nat(20),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.boolean(), (steps, isShared) => {
        const limit = 10;
        const slots = new Slots({ limit, what: "slots", ...(isShared && { services: () => services.length }) });
        const open = new Map<Slot, Rank | undefined>();
        for (const { source, service, rank, leaves } of steps) {
          const holder = { source, service };
          const hasRoom = slots.prepare(holder) !== undefined;
          try {
            const slot = slots.take(holder);
            assert.ok(hasRoom);
            open.set(slot, rank);
            slot.offer(
              () => rank,
              () => open.delete(slot),
            );
          } catch (error) {
            assert.ok(error instanceof SlotError && !hasRoom);
          }
          assert.equal(slots.taken, open.size);
          assert.ok(slots.taken <= limit);
          const leaving = [...open.keys()][leaves];
          leaving?.[Symbol.dispose]();
          if (leaving !== undefined) open.delete(leaving);
        }
        for (const slot of open.keys()) slot[Symbol.dispose]();
        assert.equal(slots.taken, 0);
        assert.notEqual(slots.prepare({ source: "a", service: "web" }), undefined);
      }),
      randomRuns(t, 500),
    );
  });
});

suite("connectionLimit()", () => {
  const cases: readonly { readonly openFiles: number; readonly reserved: number; readonly limit: number }[] = [
    { openFiles: 1024, reserved: 74, limit: 475 },
    { openFiles: 1024, reserved: 75, limit: 474 },
    { openFiles: 67, reserved: 65, limit: 1 },
    { openFiles: 32, reserved: 114, limit: 1 },
  ];
  for (const { openFiles, reserved, limit } of cases) {
    test(`of ${openFiles} open files, ${reserved} of them reserved, is ${limit}`, () => {
      assert.equal(connectionLimit(openFiles, reserved), limit);
    });
  }
});
