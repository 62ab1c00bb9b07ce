import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { readIp } from "../../../src/net/ip.ts";
import { BanList, sourceOf } from "../../../src/proxy/admission/ban-list.ts";
import { PerSourceCounter } from "../../../src/proxy/admission/per-source-counter.ts";

const ip = (text: string) => readIp(text)!;

suite("BanList", () => {
  test("bans a source until the ban expires", () => {
    const bans = new BanList();
    assert.deepEqual(bans.add(ip("10.0.0.1"), { service: "trap", ipv6Prefix: 64, until: 1_000 }, 0), {
      source: "10.0.0.1",
      until: 1_000,
      service: "trap",
    });
    assert.equal(bans.has(ip("10.0.0.1"), 999), true);
    assert.equal(bans.has(ip("::ffff:10.0.0.1"), 999), true);
    assert.equal(bans.has(ip("10.0.0.1"), 1_000), false);
    assert.equal(bans.has(ip("10.0.0.2"), 0), false);
    assert.equal(bans.has(undefined, 0), false);
    assert.deepEqual(bans.list(999), [{ source: "10.0.0.1", until: 1_000, service: "trap" }]);
    assert.deepEqual(bans.list(1_000), []);
  });

  test("bans an IPv6 source by the prefix of its sensor", () => {
    const bans = new BanList();
    bans.add(ip("fd00:0:0:1::1"), { service: "trap", ipv6Prefix: 64, until: 1_000 }, 0);
    bans.add(ip("fd00:0:0:2::1"), { service: "trap", ipv6Prefix: 128, until: 1_000 }, 0);
    assert.equal(bans.has(ip("fd00:0:0:1::9"), 0), true);
    assert.equal(bans.has(ip("fd00:0:0:2::9"), 0), false);
    assert.equal(bans.has(ip("fd00:0:0:2::1"), 0), true);
  });

  test("removes expired bans, then the oldest ones, at its limit", () => {
    const bans = new BanList(3);
    bans.add(ip("10.0.0.1"), { service: "trap", ipv6Prefix: 64, until: 9_000 }, 0);
    bans.add(ip("10.0.0.2"), { service: "trap", ipv6Prefix: 64, until: 100 }, 0);
    bans.add(ip("10.0.0.3"), { service: "trap", ipv6Prefix: 64, until: 9_000 }, 0);
    bans.add(ip("10.0.0.4"), { service: "trap", ipv6Prefix: 64, until: 9_000 }, 500);
    assert.deepEqual(
      bans.list(500).map(({ source }) => source),
      ["10.0.0.1", "10.0.0.3", "10.0.0.4"],
    );
    bans.add(ip("10.0.0.5"), { service: "trap", ipv6Prefix: 64, until: 9_000 }, 500);
    assert.equal(bans.has(ip("10.0.0.1"), 500), false);
    assert.equal(bans.list(500).length, 3);
  });

  test("replaces an earlier ban of the same source", () => {
    const bans = new BanList(1);
    bans.add(ip("10.0.0.1"), { service: "trap", ipv6Prefix: 64, until: 100 }, 0);
    bans.add(ip("10.0.0.1"), { service: "trap", ipv6Prefix: 64, until: 200 }, 50);
    assert.deepEqual(bans.list(150), [{ source: "10.0.0.1", until: 200, service: "trap" }]);
  });
});

suite("PerSourceCounter", () => {
  test("counts by address or IPv6 prefix, and forgets sources without clients", () => {
    const count = new PerSourceCounter();
    const key = (text: string) => sourceOf(ip(text), 64);
    const keys = ["10.0.0.1", "::ffff:10.0.0.1", "fd00::1", "fd00::2"].map(key);
    for (const one of keys) count.add(one);
    assert.equal(count.of("10.0.0.1"), 2);
    assert.equal(count.of("fd00::/64"), 2);
    assert.equal(count.of("10.0.0.2"), 0);
    assert.equal(count.size, 2);
    for (const one of keys) count.remove(one);
    assert.equal(count.size, 0);
  });
});
