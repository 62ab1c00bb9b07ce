import assert from "node:assert/strict";
import net from "node:net";
import { suite, test } from "node:test";
import fc from "fast-check";
import { parseNetwork } from "../../../src/config/values/networks.ts";
import { BITS, formatIp, formatNetwork, networkOf, readIp } from "../../../src/net/ip.ts";
import { isAllowed, isDenied } from "../../../src/proxy/admission/access-list.ts";

const networks = (...texts: string[]) => texts.map(parseNetwork);

suite("isAllowed()", () => {
  const cases: readonly (readonly [string, { allow?: string[]; deny?: string[] }, string | undefined, boolean])[] = [
    ["no rules", {}, "192.0.2.1", true],
    ["no rules, unknown source", {}, undefined, true],
    ["allow is empty", { allow: [] }, "127.0.0.1", false],
    ["within allow", { allow: ["10.0.0.0/8"] }, "10.255.0.1", true],
    ["outside of allow", { allow: ["10.0.0.0/8"] }, "11.0.0.1", false],
    ["an unknown source, and allow is set", { allow: ["0.0.0.0/0", "::/0"] }, undefined, false],
    ["an unknown source, and deny is set", { deny: ["10.0.0.0/8"] }, undefined, false],
    ["a mapped peer is its IPv4 address", { allow: ["10.0.0.0/8"] }, "::ffff:10.1.2.3", true],
    ["a mapped peer, written in hexadecimal", { allow: ["10.0.0.0/8"] }, "::ffff:a01:203", true],
    ["a mapped rule is an IPv4 rule", { deny: ["::ffff:10.0.0.0/104"] }, "10.1.2.3", false],
    ["a mapped peer is not all of IPv6", { allow: ["::/0"] }, "::ffff:10.1.2.3", false],
    ["all of IPv4 is nothing of IPv6", { allow: ["0.0.0.0/0"] }, "fd00::1", false],
    ["deny is narrower", { allow: ["10.0.0.0/8"], deny: ["10.0.9.0/24"] }, "10.0.9.7", false],
    ["deny is wider", { allow: ["10.0.9.7"], deny: ["10.0.0.0/8"] }, "10.0.9.7", false],
    ["deny alone lets all others in", { deny: ["10.0.0.0/8"] }, "11.0.0.1", true],
    ["IPv6 by prefix", { allow: ["fd00::/8"] }, "fdff:1::9", true],
    ["IPv6 outside", { allow: ["fd00::/8"] }, "fe00::1", false],
    ["a link-local peer has a zone", { allow: ["fe80::/10"] }, "fe80::1%eth0", true],
    ["one address is one address", { allow: ["10.1.2.3"] }, "10.1.2.4", false],
  ];
  for (const [name, { allow, deny = [] }, source, expected] of cases) {
    test(name, () => {
      const rules = { ...(allow && { allow: networks(...allow) }), deny: networks(...deny) };
      assert.equal(isAllowed(rules, source === undefined ? undefined : readIp(source)), expected);
    });
  }

  test("isDenied() returns true only for denied sources, not for sources that are not allowed", () => {
    const rules = { deny: networks("10.0.9.0/24") };
    assert.equal(isDenied(rules, readIp("10.0.9.1")), true);
    assert.equal(isDenied(rules, readIp("10.0.8.1")), false);
  });

  for (const family of ["ipv4", "ipv6"] as const) {
    test(`decides like net.BlockList: ${family}`, () => {
      const address = family === "ipv4" ? fc.ipV4() : fc.ipV6().filter((text) => readIp(text)?.family === "ipv6");
      const bits = fc.integer({ min: 0, max: BITS[family] });
      const rules = fc.array(fc.tuple(address, bits), { minLength: 1, maxLength: 4 });
      fc.assert(
        fc.property(rules, address, bits, (written, stranger, common) => {
          const list = new net.BlockList();
          for (const [text, prefix] of written) list.addSubnet(text, prefix, family);
          const deny = written.map(([text, prefix]) => networkOf(readIp(text)!, prefix));
          const [first] = written[0]!;
          for (const source of [stranger, neighbour(first, common)]) {
            assert.equal(isDenied({ deny }, readIp(source)), list.check(source, family), source);
          }
        }),
        { numRuns: 5_000 },
      );
    });
  }
});

/** Returns the address with the bit after the first `common` bits inverted. */
function neighbour(address: string, common: number): string {
  const ip = readIp(address)!;
  const bytes = ip.bytes.map((byte, index) => (index === common >> 3 ? byte ^ (1 << (7 - (common & 7))) : byte));
  return formatIp({ ...ip, bytes });
}

suite("readIp()", () => {
  test("reads what formatIp() writes", () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => {
        const ip = readIp(text);
        assert.ok(ip !== undefined);
        assert.deepEqual(readIp(formatIp(ip)), ip);
      }),
    );
  });

  test("rejects names, ports and empty text", () => {
    for (const text of ["", "localhost", "10.1.2", "10.1.2.3:80", "[::1]", "010.1.2.3", "unknown"]) {
      assert.equal(readIp(text), undefined, text);
    }
  });

  test("formatNetwork() writes single addresses without a prefix", () => {
    assert.equal(formatNetwork(networkOf(readIp("fd00:1:2:3:4::9")!, 64)), "fd00:1:2:3::/64");
    assert.equal(formatNetwork(networkOf(readIp("10.1.2.3")!, 32)), "10.1.2.3");
    assert.equal(formatNetwork(networkOf(readIp("fd00::9")!, 128)), "fd00::9");
  });
});
