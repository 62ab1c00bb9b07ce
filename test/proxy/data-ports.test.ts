import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { type Ip, readIp } from "../../src/net/ip.ts";
import {
  type ControlConnection,
  type ControlConnectionFacts,
  DataPorts,
  type DataRoute,
} from "../../src/proxy/data-ports.ts";
import { randomRuns } from "../support/activation/random.ts";

const ip = (text: string): Ip => readIp(text)!;
const alice = ip("10.0.0.1");
const bob = ip("10.0.0.2");

/** Data ports with the test's own clock, and the number of released leases. */
class Stage {
  now = 0;
  released = 0;
  readonly ports: DataPorts = new DataPorts(() => this.now);

  constructor(...ports: number[]) {
    this.configure(ports);
  }

  configure(ports: readonly number[]): void {
    this.ports.configure(ports.map((port) => ({ port })));
  }

  join(client: Ip, rest: Partial<ControlConnectionFacts> = {}): ControlConnection {
    const lease = {
      signal: new AbortController().signal,
      [Symbol.dispose]: () => {
        this.released += 1;
      },
    };
    const facts = { listenAddress: "10.0.0.9", upstreamAddress: "172.17.0.2", localAddress: "172.17.0.1", lease };
    return this.ports.join({ ips: [client], ...facts, ...rest });
  }
}

function targetOf(way: DataRoute | undefined): string | undefined {
  return way && `${way.localAddress} > ${way.host}:${way.port}`;
}

suite("DataPorts", () => {
  test("routes a client with a control connection to the same port number, from the same local address", () => {
    const stage = new Stage(30_000, 30_001);
    assert.equal(stage.ports.route(alice, 30_000), undefined);
    using _control = stage.join(alice);
    assert.ok(stage.ports.has(alice));
    assert.equal(targetOf(stage.ports.route(alice, 30_001)), "172.17.0.1 > 172.17.0.2:30001");
    assert.equal(stage.ports.has(bob), false);
    assert.equal(stage.ports.route(bob, 30_000), undefined);
  });

  test("reserves a port once for all addresses of a client behind a proxy", () => {
    const stage = new Stage(30_000, 30_001);
    using proxied = stage.join(alice, { ips: [alice, bob] });
    const expected = proxied.reserve(30_000);
    assert.equal(expected?.listener, 30_000);
    using _neighbour = stage.join(bob);
    assert.equal(
      _neighbour.reserve(30_000)?.listener,
      30_001,
      "the reserved port is not given to another client of the proxy",
    );
    assert.equal(targetOf(stage.ports.route(bob, 30_000)), "172.17.0.1 > 172.17.0.2:30000");
    assert.equal(proxied.reserve(30_000)?.listener, 30_000, "the port was used, and is free again for both addresses");
  });

  test("finds an IPv4 client in both notations, and no other client of an IPv6 prefix", () => {
    const stage = new Stage(30_000);
    using _mapped = stage.join(ip("::ffff:10.0.0.1"));
    using _six = stage.join(ip("fd00::1"));
    assert.ok(stage.ports.has(alice));
    assert.ok(stage.ports.has(ip("fd00:0::1")));
    assert.equal(stage.ports.has(ip("fd00::2")), false);
  });

  test("uses the latest control connection of an address, until it ends", () => {
    const stage = new Stage(30_000);
    using _first = stage.join(alice, { upstreamAddress: "172.17.0.2" });
    const second = stage.join(alice, { upstreamAddress: "172.17.0.3" });
    assert.equal(stage.ports.route(alice, 30_000)?.host, "172.17.0.3");
    second[Symbol.dispose]();
    assert.equal(stage.ports.route(alice, 30_000)?.host, "172.17.0.2");
  });

  test("does not route to a target that went down", () => {
    const stage = new Stage(30_000);
    using control = stage.join(alice, { lease: { signal: AbortSignal.abort(), [Symbol.dispose]: () => {} } });
    control.reserve(4_000);
    assert.equal(stage.ports.has(alice), false);
    assert.equal(stage.ports.route(alice, 30_000), undefined);
  });

  test("hold the lease until the control connection and all its data connections are closed", () => {
    const stage = new Stage(30_000);
    const control = stage.join(alice);
    const [first, second] = [stage.ports.route(alice, 30_000)!, stage.ports.route(alice, 30_000)!];
    control[Symbol.dispose]();
    control[Symbol.dispose]();
    assert.equal(stage.ports.has(alice), false, "no new data connection is routed");
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    assert.equal(stage.released, 0);
    second[Symbol.dispose]();
    assert.equal(stage.released, 1);
  });

  test("uses changed ports for existing control connections", () => {
    const stage = new Stage(30_000);
    using control = stage.join(alice);
    stage.configure([40_000]);
    assert.equal(targetOf(stage.ports.route(alice, 40_000)), "172.17.0.1 > 172.17.0.2:40000");
    assert.equal(control.reserve(1)?.listener, 40_000);
    stage.configure([]);
    assert.equal(control.reserve(1), undefined);
  });
});

suite("A reserved data port", () => {
  test("routes one connection of that client to the wanted port, and later ones to its own number", () => {
    const stage = new Stage(30_000);
    using control = stage.join(alice);
    using other = stage.join(bob);
    assert.equal(control.reserve(41_234)?.listener, 30_000);
    assert.equal(other.reserve(42_345)?.listener, 30_000, "the reservation is for one client only");
    assert.equal(stage.ports.route(alice, 30_000)?.port, 41_234);
    assert.equal(stage.ports.route(alice, 30_000)?.port, 30_000);
    assert.equal(stage.ports.route(bob, 30_000)?.port, 42_345);
  });

  test("belongs to the control connection that reserved it, not to the latest", () => {
    const stage = new Stage(30_000, 30_001);
    using first = stage.join(alice, { upstreamAddress: "172.17.0.2" });
    using _second = stage.join(alice, { upstreamAddress: "172.17.0.3" });
    assert.equal(targetOf(stage.ports.route(alice, first.reserve(41_234)!.listener)), "172.17.0.1 > 172.17.0.2:41234");
  });

  test("has the wanted number if that is free, otherwise the number that was unused for longest", () => {
    const stage = new Stage(30_000, 30_001, 30_002);
    using control = stage.join(alice);
    assert.equal(control.reserve(30_002)?.listener, 30_002);
    const listeners = [1, 2, 3].map((port) => {
      const listenPort = control.reserve(port)?.listener;
      if (listenPort !== undefined) stage.ports.route(alice, listenPort);
      return listenPort;
    });
    assert.deepEqual(listeners, [30_000, 30_001, 30_000]);
  });

  test("is at the address that the client connected to, if that has any", () => {
    const stage = new Stage();
    const reservedAt = (listenAddress: string): readonly (number | undefined)[] => {
      using control = stage.join(alice, { listenAddress });
      const reserved = [control.reserve(5), control.reserve(5), control.reserve(5)];
      return reserved.map((one) => one?.listener);
    };
    stage.ports.configure([
      { port: 1, address: "10.0.0.9" },
      { port: 2, address: "fd00::9" },
      { port: 3, address: "0.0.0.0" },
      { port: 4, address: "::1" },
    ]);
    assert.deepEqual(reservedAt("::ffff:10.0.0.9").toSorted(), [1, 3, undefined]);
    assert.deepEqual(reservedAt("fd00::9"), [2, undefined, undefined]);
    assert.deepEqual(reservedAt("10.0.0.8"), [3, undefined, undefined]);
    assert.equal(new Set(reservedAt("fd00::8")).size, 3);
    stage.ports.configure([{ port: 1, address: "10.0.0.9" }, { port: 2, address: "::" }, { port: 3 }]);
    assert.deepEqual(reservedAt("fd00::8").toSorted(), [2, 3, undefined]);
    assert.deepEqual(reservedAt("10.0.0.8"), [3, undefined, undefined], ":: is for IPv6 alone");
  });

  test("is free again when it is disposed, after 60 s, and when its control connection ends", () => {
    const stage = new Stage(30_000);
    const control = stage.join(alice);
    const reserved = control.reserve(1)!;
    assert.equal(control.reserve(2), undefined, "no port is free");
    reserved[Symbol.dispose]();
    assert.equal(control.reserve(3)?.listener, 30_000);
    stage.now = 59_999;
    assert.equal(control.reserve(4), undefined);
    stage.now = 60_000;
    assert.equal(stage.ports.route(alice, 30_000)?.port, 30_000, "the reservation has expired");
    const late = control.reserve(5)!;
    reserved[Symbol.dispose]();
    assert.equal(stage.ports.route(alice, 30_000)?.port, 5, "a second dispose has no effect");
    late[Symbol.dispose]();
    using other = stage.join(alice);
    control.reserve(6);
    control[Symbol.dispose]();
    assert.equal(other.reserve(7)?.listener, 30_000);
    assert.equal(control.reserve(8), undefined, "the control connection has ended");
  });

  test("at random: is never reserved twice at a time, and each lease is released once", (t) => {
    const step = fc.oneof(
      fc.record({ do: fc.constant("join" as const), client: fc.nat(2) }),
      fc.record({ do: fc.constantFrom("end", "expect", "giveBack", "lead", "over"), which: fc.nat(8) }),
      fc.record({ do: fc.constant("wait" as const), ms: fc.nat(40_000) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: "max" }), (steps) => {
        const model = new Model();
        for (const one of steps) {
          if (one.do === "join") model.join(one.client);
          else if (one.do === "wait") model.stage.now += one.ms;
          else model[one.do](one.which);
        }
        model.finish();
      }),
      randomRuns(t, 2_000),
    );
  });
});

interface Reserved {
  readonly control: ControlConnection;
  readonly until: number;
  readonly port: number;
  readonly kept: Disposable;
}

/** The expected behaviour in another implementation. */
class Model {
  readonly stage: Stage = new Stage(30_000, 30_001, 30_002);
  readonly #clients = [alice, bob, ip("fd00::1")];
  readonly #controls: { readonly client: number; readonly control: ControlConnection }[] = [];
  /** By client and port. */
  readonly #reserved = new Map<string, Reserved>();
  readonly #ways: DataRoute[] = [];
  #joined = 0;
  #lastPort = 0;

  join(client: number): void {
    this.#joined += 1;
    this.#controls.push({ client, control: this.stage.join(this.#clients[client]!) });
  }

  end(which: number): void {
    const [ended] = this.#controls.splice(which, 1);
    ended?.control[Symbol.dispose]();
    for (const [key, { control }] of this.#reserved) if (control === ended?.control) this.#reserved.delete(key);
  }

  expect(which: number): void {
    const { client, control } = this.#controls[which] ?? {};
    if (control === undefined) return;
    this.#lastPort += 1;
    const port = this.#lastPort;
    const kept = control.reserve(port);
    const taken = [30_000, 30_001, 30_002].filter((listenPort) => this.#at(`${client} ${listenPort}`) !== undefined);
    if (kept === undefined) return assert.equal(taken.length, 3, "a port was free, but not given");
    assert.ok(!taken.includes(kept.listener), "the port was reserved twice");
    this.#reserved.set(`${client} ${kept.listener}`, { control, until: this.stage.now + 60_000, port, kept });
  }

  giveBack(which: number): void {
    const [key, reserved] = [...this.#reserved][which] ?? [];
    reserved?.kept[Symbol.dispose]();
    if (key !== undefined) this.#reserved.delete(key);
  }

  lead(which: number): void {
    const [client, listenPort] = [which % 3, 30_000 + Math.floor(which / 3)];
    const way = this.stage.ports.route(this.#clients[client]!, listenPort);
    const mayCome = this.#controls.some((one) => one.client === client);
    assert.equal(way?.port, mayCome ? (this.#at(`${client} ${listenPort}`)?.port ?? listenPort) : undefined);
    this.#reserved.delete(`${client} ${listenPort}`);
    if (way !== undefined) this.#ways.push(way);
  }

  over(which: number): void {
    this.#ways.splice(which, 1)[0]?.[Symbol.dispose]();
  }

  finish(): void {
    for (const { control } of this.#controls) control[Symbol.dispose]();
    const isHeld = this.#ways.length > 0;
    assert.ok(isHeld || this.stage.released === this.#joined);
    for (const way of this.#ways) way[Symbol.dispose]();
    assert.equal(this.stage.released, this.#joined);
  }

  #at(key: string): Reserved | undefined {
    const reserved = this.#reserved.get(key);
    return reserved !== undefined && reserved.until > this.stage.now ? reserved : undefined;
  }
}
