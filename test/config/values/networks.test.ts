import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { parseNetwork } from "../../../src/config/values/networks.ts";
import { UnitError } from "../../../src/config/values/units.ts";
import { formatNetwork } from "../../../src/net/ip.ts";

suite("parseNetwork()", () => {
  const good = {
    "10.0.0.0/8": "10.0.0.0/8",
    "10.1.2.3": "10.1.2.3",
    "10.1.2.3/32": "10.1.2.3",
    "10.1.2.0/32": "10.1.2.0",
    "0.0.0.0/0": "0.0.0.0/0",
    "::/0": "::/0",
    "::1": "::1",
    "FD00::/8": "fd00::/8",
    "fd00:0:0:0:0:0:0:1": "fd00::1",
    "::ffff:10.1.2.3": "10.1.2.3",
    "::ffff:10.0.0.0/104": "10.0.0.0/8",
    "::ffff:0:0/96": "0.0.0.0/0",
  };
  for (const [text, expected] of Object.entries(good)) {
    test(`parses "${text}"`, () => assert.equal(formatNetwork(parseNetwork(text)), expected));
  }

  const bad: Readonly<Record<string, RegExp>> = {
    "10.1.0.0": /is an address or a network: write "10\.1\.0\.0\/16", or "10\.1\.0\.0\/32"/,
    "10.1.2.0": /write "10\.1\.2\.0\/24", or "10\.1\.2\.0\/32"/,
    "0.0.0.0": /write "0\.0\.0\.0\/0", or/,
    "fd00::": /write "fd00::\/128", or "fd00::\/64"/,
    "10.0.0.0/255.0.0.0": /has a mask: write it as a prefix, "10\.0\.0\.0\/8"/,
    "10.0.0.0/255.0.255.0": /not a network mask/,
    "10.0.0.0/33": /a prefix is a number from 0 to 32/,
    "fd00::/129": /a prefix is a number from 0 to 128/,
    "::ffff:10.0.0.0/64": /a prefix is a number from 0 to 128/,
    "10.0.0.0/": /a prefix is a number/,
    "10.0.0.0/-1": /a prefix is a number/,
    "10.0.0.0/8/8": /not an address/,
    "10.1.2.3/8": /bits outside of its prefix: write "10\.0\.0\.0\/8", or "10\.1\.2\.3" alone/,
    "fd00::1/64": /write "fd00::\/64", or "fd00::1" alone/,
    "fe80::1%eth0": /not an address/,
    "": /not an address/,
    " ": /not an address/,
    any: /"0\.0\.0\.0\/0" and "::\/0"/,
    localhost: /names are not resolved: write addresses, for example "127\.0\.0\.0\/8" and "::1"/,
    "ftp.example.org": /is a name: names are not resolved/,
    ".example.org": /is a name/,
    "10.1.2.3-9": /not an address/,
    "10.1.2.{3,4}": /as a list/,
    "10.1.": /not an address/,
    "10.1/16": /not an address/,
    "010.1.2.3": /not an address/,
    "1.2.3.4.5": /not an address/,
    "::g": /not an address/,
  };
  for (const [text, message] of Object.entries(bad)) {
    test(`rejects "${text}" with a remedy`, () => {
      assert.throws(
        () => parseNetwork(text),
        (error) => error instanceof UnitError && message.test(error.message),
      );
    });
  }

  test("throws UnitError only, for random text", () => {
    const parts = fc.array(
      fc.constantFrom("10", "255", ".", "0", ":", "::", "/", "8", "ffff", "%", "{", ",", "-", "a"),
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          parts.map((list) => list.join("")),
        ),
        (text) => {
          try {
            parseNetwork(text);
          } catch (error) {
            assert.ok(error instanceof UnitError, String(error));
          }
        },
      ),
      { numRuns: 10_000 },
    );
  });

  test("rejects a very long entry fast", () => {
    const began = performance.now();
    for (const part of ["1.", "a.", ":", "{", "a", "1", "-", "_."]) {
      assert.throws(() => parseNetwork(part.repeat(100_000)), UnitError);
    }
    assert.ok(performance.now() - began < 2_000);
  });
});
