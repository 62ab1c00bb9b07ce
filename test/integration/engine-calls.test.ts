/** The number of calls to the engine for one wake and one sleep. What a call or an event reports is not inspected again. */
import assert from "node:assert/strict";
import { echo, type TestContainer } from "../support/engine/containers.ts";
import { CountingProxy } from "../support/engine/counting-proxy.ts";
import { engineTest, type Lab } from "../support/engine/lab.ts";
import type { Wakeport } from "../support/engine/wakeport.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

/** After the baseline of direct traffic, which is taken in the middle of the idle timeout. */
const IDLE_TIMEOUT = "1s";

/** A wakeport whose calls about one container are counted, after one wake and sleep. */
class Counted {
  readonly target: TestContainer;
  readonly wakeport: Wakeport;
  readonly #lab: Lab;
  readonly #proxy: CountingProxy;
  #seen = 0;

  private constructor(parts: { lab: Lab; target: TestContainer; wakeport: Wakeport; proxy: CountingProxy }) {
    this.#lab = parts.lab;
    this.target = parts.target;
    this.wakeport = parts.wakeport;
    this.#proxy = parts.proxy;
  }

  static async open(lab: Lab, proxy: CountingProxy, settings: object): Promise<Counted> {
    const target = await lab.container({ program: echo() });
    const services = { echo: { to: target, idle_timeout: IDLE_TIMEOUT, ...settings } };
    const wakeport = await lab.wakeport(services, { docker: { host: proxy.host } });
    return new Counted({ lab, target, wakeport, proxy });
  }

  /** Wakes the target for one client, and waits until it sleeps. */
  async cycle(asleep: "asleep" | "paused"): Promise<void> {
    await this.wakeport.greeted("echo");
    await this.wakeport.until("echo", asleep);
    await this.settled();
  }

  /** Waits until each event is received, and each call is answered. */
  async settled(): Promise<void> {
    // An event of the last sleep that arrives after the next start is a reason for an inspection.
    await this.#lab.engine.catchUp();
    await eventually("each call is answered", () => this.#proxy.isIdle);
  }

  /** The calls since the last query: `start`, `json` (an inspection), `list`, `stats`. */
  async calls(count: number): Promise<readonly string[]> {
    await eventually("the calls are made", () => this.#calls.length >= this.#seen + count);
    const calls = this.#calls.slice(this.#seen);
    this.#seen += calls.length;
    return calls;
  }

  /** Skips the calls so far. */
  skip(): void {
    this.#seen = this.#calls.length;
  }

  /** Other containers of the engine, and pings, are left out. */
  get #calls(): string[] {
    const { id, name } = this.target;
    return this.#proxy.requests.flatMap((request) => {
      if (request === "GET /containers/json") return "list";
      const [, container = "", operation = ""] = /^\w+ \/containers\/([^/]+)\/(\w+)$/.exec(request) ?? [];
      return container === id || container === name ? operation : [];
    });
  }
}

/** Each inspection is listed with what it decides. */
engineTest("a wake takes two calls to the engine, and a sleep eight", async (lab) => {
  await using proxy = await CountingProxy.open();
  const counted = await Counted.open(lab, proxy, {});
  const { wakeport } = counted;
  await counted.cycle("asleep");
  for (let cycle = 0; cycle < 3; cycle += 1) {
    counted.skip();
    await wakeport.greeted("echo");
    // The inspection reads the address of this run.
    assert.deepEqual(await counted.calls(2), ["start", "json"]);
    await wakeport.until("echo", "asleep");
    assert.deepEqual(await counted.calls(8), [
      // The beginning of the idle timeout: traffic up to now.
      "stats",
      // Its end: exec sessions, dependents, traffic.
      "json",
      "list",
      "stats",
      // The stop rule, right before the stop.
      "json",
      "list",
      "stop",
      // Another program may have started it meanwhile. The next start uses the result.
      "json",
    ]);
    await counted.settled();
  }
});

engineTest("a wake from a pause takes two calls to the engine", async (lab) => {
  await using proxy = await CountingProxy.open();
  const counted = await Counted.open(lab, proxy, { sleep: "pause", direct_traffic: "ignore" });
  const { wakeport } = counted;
  for (let cycle = 0; cycle < 2; cycle += 1) {
    await counted.cycle("paused");
    counted.skip();
    await wakeport.greeted("echo");
    assert.deepEqual(await counted.calls(2), ["unpause", "json"]);
  }
});

engineTest("a container that is recreated while it sleeps is looked up before its start", async (lab) => {
  await using proxy = await CountingProxy.open();
  const counted = await Counted.open(lab, proxy, {});
  const { wakeport, target } = counted;
  await counted.cycle("asleep");
  const { name } = target;
  await target.remove();
  const next = await lab.container({ program: echo(), name });
  wakeport.mayUse("echo", next);
  await wakeport.greeted("echo");
  assert.ok(await next.isAwake());
});
