/** Each case was tried with xinetd 2.3.15.3. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { ADDRESS_WORDS, readAddress, splitAddress } from "../../src/import/xinetd-addresses.ts";

suite("readAddress()", () => {
  const good: Readonly<Record<string, readonly string[]>> = {
    "1.2.3.4": ["1.2.3.4"],
    "1.2.3.0": ["1.2.3.0/24"],
    "10.1.0.0": ["10.1.0.0/16"],
    "10.0.0.0": ["10.0.0.0/8"],
    "10.0.1.0": ["10.0.1.0/24"],
    "0.0.0.0": ["0.0.0.0/0"],
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
    // These networks contain the mapped addresses of IPv4 clients.
    "::/64": ["::/64", "0.0.0.0/0"],
    "::/0": ["::/0", "0.0.0.0/0"],
  };
  for (const [word, expected] of Object.entries(good)) {
    test(`reads ${word}`, () => {
      assert.deepEqual(readAddress(word), expected);
    });
  }

  const unconverted: Readonly<Record<string, readonly string[]>> = {
    "dotted masks, which xinetd reads as single addresses": ["127.0.0.0/255.0.0.0", "10.0.0.0/255.0.255.0"],
    "short addresses, which xinetd reads as one number": ["10.1", "127", "127/8"],
    "octal and hexadecimal numbers": ["010.0.0.1", "0x7f.0.0.1"],
    "addresses that match no client in xinetd": ["::1/128", "::"],
    "names of hosts and networks": ["host", ".example.org", "1.2.3.999", "1.2.3.4.5", "fe80::1%eth0", "::x"],
    "invalid prefixes": ["10.0.0.0/abc", "host/8", "fe80::1%eth0/64", "10.0.0.0/", "::ffff:10.0.0.0/104"],
  };
  for (const [kind, words] of Object.entries(unconverted)) {
    test(`does not convert ${kind}`, () => {
      for (const word of words) assert.equal(readAddress(word), undefined, word);
    });
  }
});

suite("splitAddress()", () => {
  const cases: Readonly<Record<string, readonly string[]>> = {
    "1.2.3.{4,7}": ["1.2.3.4", "1.2.3.7"],
    "1.2.{3,4}": ["1.2.3.0/24", "1.2.4.0/24"],
    "1.{2}": ["1.2.0.0/16"],
    "{127,10}": ["127.0.0.0/8", "10.0.0.0/8"],
    "1.2.3.{0}": ["1.2.3.0/32"],
    "10.0.0.0/8": ["10.0.0.0/8"],
  };
  for (const [word, expected] of Object.entries(cases)) {
    test(`splits ${word}`, () => assert.deepEqual(splitAddress(word), expected));
  }
});

suite("ADDRESS_WORDS", () => {
  test("matches words that xinetd accepts", () => {
    for (const words of ["", "10.0.0.0 host", "1.2.3.{4,7} ::1"]) assert.match(words, ADDRESS_WORDS);
  });

  for (const word of ["1.2.3.4,", "1.2.3.{4", "{}", "1.2.3.{4,}", "1.2.3.{400}", "1.2.3.4.{5}", "a.{1}", "1..{2}"]) {
    test(`does not match ${word}`, () => assert.doesNotMatch(word, ADDRESS_WORDS));
  }
});
