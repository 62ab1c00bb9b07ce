import assert from "node:assert/strict";
import { suite, type TestContext, test } from "node:test";
import fc from "fast-check";
import { parseTimes } from "../../../src/config/values/access-times.ts";
import { parseNetwork } from "../../../src/config/values/networks.ts";
import { parseRate } from "../../../src/config/values/rates.ts";
import { readIp } from "../../../src/net/ip.ts";
import { Admission, type AdmissionOptions } from "../../../src/proxy/admission/admission.ts";
import { BanList } from "../../../src/proxy/admission/ban-list.ts";
import { DeniedError } from "../../../src/proxy/admission/denial.ts";
import { Slots } from "../../../src/proxy/admission/slots.ts";

const ip = (text: string) => readIp(text)!;

/** An admission with the test's own clock. */
class Stage {
  /** Monday, 23 November 2026, noon. */
  unix: number = Date.parse("2026-11-23T12:00Z");
  load = 0;
  readonly bans: BanList = new BanList();
  readonly slots: Slots;
  readonly admission: Admission;
  readonly #context: TestContext;
  #now = 0;

  constructor(
    context: TestContext,
    limits: Partial<AdmissionOptions["limits"]> = {},
    access: Partial<AdmissionOptions["access"]> = {},
    slots = 1_000,
  ) {
    this.slots = new Slots({ limit: slots, what: "connections in total", reason: "process_limit" });
    this.#context = context;
    context.mock.timers.enable({ apis: ["setTimeout"] });
    this.admission = new Admission({
      service: "web",
      access: { deny: [], timeZone: "UTC", ...access },
      limits: { ipv6Prefix: 64, waiting: 100, onLimit: "reject", ...limits },
      queueTimeoutMs: 60_000,
      bans: this.bans,
      slots: this.slots,
      clock: { now: () => this.#now, unixTime: () => this.unix, loadAverage: () => this.load },
    });
  }

  ban(source: string, until: number): void {
    this.bans.add(ip(source), { service: "trap", ipv6Prefix: 64, until }, this.unix);
  }

  pass(ms: number): void {
    for (let passed = 0; passed < ms; passed += 10) {
      this.#now += 10;
      this.unix += 10;
      this.#context.mock.timers.tick(10);
    }
  }

  /** Returns "in", or the reason of the denial. */
  connect(source: string): string {
    try {
      this.admission.admitNow(ip(source));
      return "in";
    } catch (error) {
      assert.ok(error instanceof DeniedError);
      return error.reason;
    }
  }

  /** Connects a client, which may be queued. */
  async arrive(source: string): Promise<Client> {
    const client = new Client(this.admission, source);
    await settle();
    return client;
  }
}

class Client {
  readonly source: string;
  readonly #left = new AbortController();
  /** "waiting", "in", the reason of the denial, or "left". */
  fate = "waiting";
  message = "";
  #pass: Disposable | undefined;

  constructor(admission: Admission, source: string) {
    this.source = source;
    admission.admit(ip(source), this.#left).then(
      (pass) => {
        this.#pass = pass;
        this.fate = "in";
      },
      (error: unknown) => {
        this.fate = error instanceof DeniedError ? error.reason : "left";
        this.message = error instanceof Error ? error.message : "";
      },
    );
  }

  async leave(): Promise<void> {
    if (this.#pass === undefined) this.#left.abort(new Error("left"));
    else this.#pass[Symbol.dispose]();
    await settle();
  }
}

/** Waits for the consequences of the last step. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

suite("Admission", () => {
  test("checks address, time, rate, load, source and service in this order", (t) => {
    const stage = new Stage(
      t,
      { rate: parseRate("4/h"), maxLoad: 2, perSource: 1, connections: 2 },
      { deny: [parseNetwork("10.9.0.0/16")], times: [parseTimes("08:00-20:00")] },
    );
    assert.equal(stage.connect("10.0.0.1"), "in");
    assert.equal(stage.connect("10.0.0.1"), "per_source_limit");
    assert.equal(stage.connect("10.0.0.2"), "in");
    assert.equal(stage.connect("10.0.0.3"), "service_limit");
    assert.equal(stage.connect("10.0.0.2"), "per_source_limit");
    stage.load = 2;
    assert.equal(stage.connect("10.0.0.2"), "load");
    stage.load = 0;
    stage.unix += 12 * 3_600_000;
    assert.equal(stage.connect("10.0.0.2"), "time");
    assert.equal(stage.connect("10.9.0.1"), "address");
    stage.ban("10.9.0.1", stage.unix + 1);
    assert.equal(stage.connect("10.9.0.1"), "banned");
  });

  test("checks the rate before the load and the counts", (t) => {
    const stage = new Stage(t, { rate: parseRate("2/h"), maxLoad: 1, perSource: 1, connections: 1 });
    assert.equal(stage.connect("10.0.0.1"), "in");
    stage.load = 5;
    assert.equal(stage.connect("10.0.0.1"), "rate");
    assert.equal(stage.connect("10.0.0.2"), "load");
    stage.load = 0.99;
    assert.equal(stage.connect("10.0.0.2"), "service_limit");
  });

  test("counts no denied client", (t) => {
    const stage = new Stage(t, { rate: parseRate("4/h"), connections: 1 }, { allow: [parseNetwork("10.0.0.0/8")] });
    for (let tries = 0; tries < 100; tries += 1) assert.equal(stage.connect("11.0.0.1"), "address");
    const pass = stage.admission.admitNow(ip("10.0.0.1"));
    for (let tries = 0; tries < 100; tries += 1) assert.equal(stage.connect("10.0.0.2"), "service_limit");
    pass[Symbol.dispose]();
    assert.equal(stage.connect("10.0.0.2"), "in");
  });

  test("counts an IPv6 source by its prefix", (t) => {
    const stage = new Stage(t, { perSource: 1 });
    assert.equal(stage.connect("fd00:0:0:1::1"), "in");
    assert.equal(stage.connect("fd00:0:0:1::2"), "per_source_limit");
    assert.equal(stage.connect("fd00:0:0:2::1"), "in");
  });

  test("applies new rules at once, and admitted clients stay and count", async (t) => {
    const stage = new Stage(t, { connections: 1, onLimit: "queue" });
    const first = await stage.arrive("10.0.0.1");
    const [second, third] = [await stage.arrive("10.0.0.2"), await stage.arrive("10.0.0.3")];
    stage.admission.configure({
      access: { deny: [parseNetwork("10.0.0.2")] },
      limits: { ipv6Prefix: 64, waiting: 100, onLimit: "reject", connections: 2 },
      queueTimeoutMs: 60_000,
    });
    await settle();
    assert.deepEqual([first.fate, second.fate, third.fate], ["in", "address", "in"]);
    assert.equal((await stage.arrive("10.0.0.4")).fate, "service_limit");
    await first.leave();
    assert.equal((await stage.arrive("10.0.0.4")).fate, "in");
  });

  test("keeps the buckets of unchanged rates", (t) => {
    const stage = new Stage(t, { rate: parseRate("2/h") });
    const rules = { access: { deny: [] }, queueTimeoutMs: 1 };
    const limits = { ipv6Prefix: 64, waiting: 1, onLimit: "reject" } as const;
    assert.equal(stage.connect("10.0.0.1"), "in");
    stage.admission.configure({ ...rules, limits: { ...limits, rate: parseRate("2/h"), perSource: 9 } });
    assert.equal(stage.connect("10.0.0.1"), "rate");
    stage.admission.configure({ ...rules, limits });
    assert.equal(stage.connect("10.0.0.1"), "in");
  });

  test("checks slots of the process last, and queued clients have one", async (t) => {
    const stage = new Stage(t, { onLimit: "queue", connections: 1 }, {}, 2);
    const first = await stage.arrive("10.0.0.1");
    const second = await stage.arrive("10.0.0.2");
    assert.deepEqual([second.fate, stage.slots.taken], ["waiting", 2]);
    assert.equal((await stage.arrive("10.0.0.3")).fate, "process_limit");
    await first.leave();
    assert.deepEqual([second.fate, stage.slots.taken], ["in", 1]);
    await second.leave();
    assert.equal(stage.slots.taken, 0);
  });

  test("admits an unknown source if all sources are allowed", (t) => {
    assert.ok(new Stage(t).admission.admitNow(undefined));
    t.mock.timers.reset();
    const stage = new Stage(t, {}, { allow: [parseNetwork("0.0.0.0/0")] });
    assert.throws(() => stage.admission.admitNow(undefined), /an unknown source may not use this service/);
  });
});

suite("Admission with a queue", () => {
  const queue = { onLimit: "queue" } as const;

  test("holds clients until a limit allows them, first come, first served", async (t) => {
    const stage = new Stage(t, { ...queue, connections: 1 });
    const first = await stage.arrive("10.0.0.1");
    const [second, third] = [await stage.arrive("10.0.0.2"), await stage.arrive("10.0.0.3")];
    assert.deepEqual([first.fate, second.fate, third.fate], ["in", "waiting", "waiting"]);
    assert.equal(stage.admission.waiting, 2);
    await first.leave();
    assert.deepEqual([second.fate, third.fate], ["in", "waiting"]);
    await second.leave();
    assert.equal(third.fate, "in");
    assert.equal(stage.admission.waiting, 0);
  });

  test("admits no new client before queued ones", async (t) => {
    const stage = new Stage(t, { ...queue, rate: parseRate("1/s"), ratePerSource: parseRate("9/s") });
    const clients: Client[] = [];
    for (let index = 1; index <= 5; index += 1) clients.push(await stage.arrive(`10.0.0.${index}`));
    for (let index = 1; index <= 4; index += 1) {
      stage.pass(1_000);
      await settle();
      clients.push(await stage.arrive(`10.0.1.${index}`));
      assert.equal(clients.filter(({ fate }) => fate === "in").length, index + 1);
      assert.equal(clients[index]!.fate, "in");
    }
  });

  test("lets a client whose own source is at its limit block no other source", async (t) => {
    const stage = new Stage(t, { ...queue, perSource: 1 });
    const abuser = [];
    for (let count = 0; count < 20; count += 1) abuser.push(await stage.arrive("10.0.0.1"));
    const innocent = await stage.arrive("10.0.0.2");
    assert.equal(innocent.fate, "in");
    assert.equal(abuser.filter(({ fate }) => fate === "in").length, 1);
    await abuser[0]!.leave();
    assert.equal(abuser[1]!.fate, "in");
  });

  test("evicts the oldest client of a source with more slots if the queue is full", async (t) => {
    const stage = new Stage(t, { ...queue, connections: 1, waiting: 4 });
    const arrive = async (source: string, count: number) => {
      const clients = [];
      for (let index = 0; index < count; index += 1) clients.push(await stage.arrive(source));
      return clients;
    };
    const fates = (clients: Awaited<ReturnType<typeof arrive>>) => clients.map(({ fate }) => fate);
    const hog = await arrive("10.0.0.1", 6);
    assert.deepEqual(fates(hog), ["in", "waiting", "waiting", "waiting", "waiting", "waiting_limit"]);
    const second = await arrive("10.0.0.2", 3);
    assert.deepEqual(fates(second), ["waiting", "waiting", "waiting_limit"]);
    assert.deepEqual(fates(hog).slice(1, 5), ["waiting_limit", "waiting_limit", "waiting", "waiting"]);
    assert.deepEqual(fates(await arrive("10.0.0.3", 2)), ["waiting", "waiting_limit"]);
    assert.deepEqual([stage.admission.waiting, stage.slots.taken], [4, 5]);
    await hog[0]!.leave();
    assert.deepEqual(fates(hog).slice(3, 5), ["waiting_limit", "in"]);
  });

  test("denies by address and time at once, without the queue", async (t) => {
    const stage = new Stage(t, queue, { deny: [parseNetwork("10.0.0.1")], times: [parseTimes("08:00-13:00")] });
    assert.equal((await stage.arrive("10.0.0.1")).fate, "address");
    stage.unix += 3_600_000;
    assert.equal((await stage.arrive("10.0.0.2")).fate, "time");
  });

  test("denies a client after the timeout, with the reached limit as the reason", async (t) => {
    const stage = new Stage(t, { ...queue, maxLoad: 1 });
    stage.load = 3;
    const clients = [await stage.arrive("10.0.0.1"), await stage.arrive("10.0.0.2")];
    stage.pass(59_990);
    await settle();
    assert.deepEqual(
      clients.map(({ fate }) => fate),
      ["waiting", "waiting"],
    );
    stage.pass(10);
    await settle();
    assert.deepEqual(
      clients.map(({ fate }) => fate),
      ["load", "load"],
    );
    assert.equal(clients[0]!.message, "waited too long: the load of the machine is 3.00, the limit is 1");
    assert.equal(stage.admission.waiting, 0);
  });

  test("checks the load again every second", async (t) => {
    const stage = new Stage(t, { ...queue, maxLoad: 1 });
    stage.load = 3;
    const client = await stage.arrive("10.0.0.1");
    stage.load = 0.5;
    stage.pass(990);
    await settle();
    assert.equal(client.fate, "waiting");
    stage.pass(10);
    await settle();
    assert.equal(client.fate, "in");
  });

  test("removes a client that leaves", async (t) => {
    const stage = new Stage(t, { ...queue, connections: 1, waiting: 2 });
    const first = await stage.arrive("10.0.0.1");
    const second = await stage.arrive("10.0.0.2");
    await second.leave();
    assert.equal(second.fate, "left");
    assert.equal(stage.admission.waiting, 0);
    const third = await stage.arrive("10.0.0.3");
    await first.leave();
    assert.equal(third.fate, "in");
  });

  test("denies a client that is banned while it is queued", async (t) => {
    const stage = new Stage(t, { ...queue, connections: 1 });
    const first = await stage.arrive("10.0.0.1");
    const second = await stage.arrive("10.0.0.2");
    const third = await stage.arrive("10.0.0.3");
    stage.ban("10.0.0.2", stage.unix + 1_000);
    await first.leave();
    assert.deepEqual([second.fate, third.fate], ["banned", "in"]);
  });

  test("does not admit a client that has left", async (t) => {
    const stage = new Stage(t, queue);
    await assert.rejects(
      stage.admission.admit(ip("10.0.0.1"), { signal: AbortSignal.abort(new Error("gone")) }),
      /gone/,
    );
  });

  test("at random: never exceeds a limit, loses no client, and frees all slots", async (t) => {
    const steps = fc.array(
      fc.oneof(
        fc.record({ do: fc.constant("arrive" as const), source: fc.integer({ min: 1, max: 4 }) }),
        fc.record({ do: fc.constant("leave" as const), index: fc.nat() }),
        fc.record({ do: fc.constant("pass" as const), ms: fc.integer({ min: 10, max: 1_500 }) }),
      ),
      { minLength: 1, maxLength: 60 },
    );
    await fc.assert(
      fc.asyncProperty(steps, fc.boolean(), async (list, isRated) => {
        t.mock.timers.reset();
        const rate = isRated && { rate: parseRate("5/s"), ratePerSource: parseRate("3/s") };
        const stage = new Stage(t, { ...queue, ...rate, connections: 3, perSource: 2, waiting: 6 });
        const clients: Client[] = [];
        const inside = (source?: string) =>
          clients.filter((one) => one.fate === "in" && (source === undefined || one.source === source));
        for (const step of list) {
          if (step.do === "arrive") clients.push(await stage.arrive(`10.0.0.${step.source}`));
          else if (step.do === "pass") stage.pass(step.ms);
          else {
            const there = clients.filter(({ fate }) => fate === "in" || fate === "waiting");
            const client = there[step.index % Math.max(1, there.length)];
            await client?.leave();
            if (client?.fate === "in") client.fate = "done";
          }
          await settle();
          assert.ok(inside().length <= 3);
          for (const { source, fate } of clients) {
            assert.ok(inside(source).length <= 2);
            const isIdle = !isRated && fate === "waiting" && inside().length < 3 && inside(source).length < 2;
            assert.ok(!isIdle, `${source} waits although there is room`);
          }
          assert.equal(stage.slots.taken, inside().length + stage.admission.waiting);
          assert.equal(stage.admission.waiting, clients.filter(({ fate }) => fate === "waiting").length);
        }
        for (const client of clients.filter(({ fate }) => fate === "waiting")) await client.leave();
        for (const client of inside()) await client.leave();
        stage.pass(1_000);
        for (const source of ["10.1.0.1", "10.1.0.2", "10.1.0.3"]) assert.equal(stage.connect(source), "in");
        assert.equal(stage.connect("10.1.0.4"), "service_limit");
      }),
      { numRuns: 200 },
    );
  });
});
