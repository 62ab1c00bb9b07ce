/** Each of these was tried with xinetd 2.3.15.3 where it says more than the manual. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { readAddress } from "../../src/import/xinetd-addresses.ts";

const networks = (word: string): string[] => readAddress(word).flatMap((rule) => rule.networks);
const trap = (word: string): string | undefined => readAddress(word).find((rule) => rule.trap !== undefined)?.trap;

suite("readAddress()", () => {
  const good: Readonly<Record<string, readonly string[]>> = {
    "1.2.3.4": ["1.2.3.4"],
    "1.2.3.0": ["1.2.3.0/24"],
    "10.1.0.0": ["10.1.0.0/16"],
    "10.0.0.0": ["10.0.0.0/8"],
    "10.0.1.0": ["10.0.1.0/24"],
    "0.0.0.0": ["0.0.0.0/0"],
    "1.2.3.{4,7}": ["1.2.3.4", "1.2.3.7"],
    "1.2.{3,4}": ["1.2.3.0/24", "1.2.4.0/24"],
    "1.{2}": ["1.2.0.0/16"],
    "{127,10}": ["127.0.0.0/8", "10.0.0.0/8"],
    "1.2.3.4/24": ["1.2.3.0/24"],
    "1.2.3.0/32": ["1.2.3.0/32"],
    "0.0.0.0/0": ["0.0.0.0/0"],
    "::1": ["::1"],
    "fd00::/8": ["fd00::/8"],
    "fe80::1:2/64": ["fe80::/64"],
    "1:2:3:4:5:6:7:8/20": ["1::/20"],
    "fd00::": ["fd00::/128"],
    "::ffff:102:304": ["1.2.3.4"],
    "::ffff:1.2.3.4": ["1.2.3.4"],
    "::ffff:10.0.0.0/104": ["10.0.0.0/8"],
    // Clients of IPv4 have addresses in there.
    "::/64": ["::/64", "0.0.0.0/0"],
    "::/0": ["::/0", "0.0.0.0/0"],
  };
  for (const [word, expected] of Object.entries(good)) {
    test(`reads ${word}`, () => {
      assert.deepEqual(networks(word), expected);
      assert.equal(trap(word), undefined);
    });
  }

  const traps: Readonly<Record<string, readonly [networks: readonly string[], trap: RegExp]>> = {
    "127.0.0.0/255.0.0.0": [
      ["127.0.0.0/32"],
      /matches the one address 127\.0\.0\.0.*; 127\.0\.0\.0\/8 was probably meant/,
    ],
    "10.0.0.0/255.0.255.0": [["10.0.0.0/32"], /because masks are lengths$/],
    "10.1": [["10.0.0.1"], /"10\.1" is the address 10\.0\.0\.1, no network/],
    "127": [["0.0.0.127"], /"127" is the address 0\.0\.0\.127, no network/],
    "127/8": [["0.0.0.0/8"], /"127" of "127\/8" is the address 0\.0\.0\.127: it matches 0\.0\.0\.0\/8/],
    "::1/128": [[], /"::1\/128" matches nobody/],
    "::": [["::/128"], /"::" matches nobody/],
  };
  for (const [word, [expected, message]] of Object.entries(traps)) {
    test(`tells the trap in ${word}`, () => {
      assert.deepEqual(networks(word), expected);
      assert.match(trap(word) ?? "", message);
    });
  }

  test("reads octal and hexadecimal numbers, as the C library does", () => {
    assert.deepEqual(networks("010.0.0.1"), ["8.0.0.1"]);
    assert.deepEqual(networks("0x7f.0.0.1"), ["127.0.0.1"]);
  });

  test("takes words for names of hosts and networks", () => {
    for (const word of ["host", ".example.org", "1.2.3.999", "1.2.3.4.5", "fe80::1%eth0", "::x"]) {
      assert.deepEqual(readAddress(word), [{ key: `name ${word}`, networks: [], isName: true }]);
    }
  });

  test("leaves out what xinetd leaves out", () => {
    for (const word of ["10.0.0.0/abc", "host/8", "fe80::1%eth0/64", "10.0.0.0/"])
      assert.deepEqual(readAddress(word), []);
  });

  for (const word of ["1.2.3.4,", "1.2.3.{4", "{}", "1.2.3.{4,}", "1.2.3.{400}", "1.2.3.4.{5}", "a.{1}", "1..{2}"]) {
    test(`refuses ${word}`, () => assert.throws(() => readAddress(word), { name: "AddressError" }));
  }
});
