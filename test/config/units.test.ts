import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { clash, parseHostPort, parsePort } from "../../src/config/ports.ts";
import { suggest } from "../../src/config/suggest.ts";
import { formatDuration, parseDuration, UnitError } from "../../src/config/units.ts";

suite("parseDuration()", () => {
  test("reads units one after the other, as Go does", () => {
    assert.equal(parseDuration("500ms"), 500);
    assert.equal(parseDuration("1h30m"), 5_400_000);
    assert.equal(parseDuration("1.5s"), 1_500);
    assert.equal(parseDuration("0"), 0);
  });

  for (const text of ["", "90", "5d", "-5m", "5 m", "m", "5m!", "1e3s", "577h"]) {
    test(`refuses "${text}" with a UnitError`, () => assert.throws(() => parseDuration(text), UnitError));
  }

  test("reads what formatDuration() writes", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 576 * 3_600_000 }), (ms) => parseDuration(formatDuration(ms)) === ms),
    );
  });
});

suite("parsePort()", () => {
  const good = {
    "2121": { front: 2121 },
    "2121:21": { front: 2121, target: 21 },
    "2121:21/tcp": { front: 2121, target: 21 },
    "127.0.0.1:2121": { front: 2121, address: "127.0.0.1" },
    "127.0.0.1:2121:21": { front: 2121, target: 21, address: "127.0.0.1" },
    "[::1]:2121:21": { front: 2121, target: 21, address: "::1" },
  };
  for (const [text, expected] of Object.entries(good)) {
    test(`reads "${text}"`, () => assert.deepEqual(parsePort(text), expected));
  }

  const bad = [
    "",
    ":",
    "0",
    "65536",
    "1:0",
    "a:b",
    "::1:2121:21",
    "localhost:2121:21",
    "1:2:3:4",
    "1-5",
    "53/sctp",
    "1/tcp/x",
  ];
  for (const text of bad) {
    test(`refuses "${text}" with a UnitError`, () => assert.throws(() => parsePort(text), UnitError));
  }

  test("refuses an endless entry at once", () => {
    const began = performance.now();
    for (const part of ["1.", "1:", ":", "[", "1", "1.1:"]) {
      assert.throws(() => parsePort(part.repeat(100_000)), UnitError);
    }
    assert.ok(performance.now() - began < 2_000);
  });

  test("throws nothing but UnitError, whatever the text", () => {
    const text = fc.oneof(
      fc.string(),
      fc.array(fc.constantFrom("1", "21", ":", "[", "]", "/", "-", "tcp", ".")).map((parts) => parts.join("")),
    );
    fc.assert(
      fc.property(text, (entry) => {
        try {
          parsePort(entry);
        } catch (error) {
          assert.ok(error instanceof UnitError, String(error));
        }
      }),
    );
  });
});

suite("clash()", () => {
  test("a wildcard takes the port from every address of its family, none from the other", () => {
    assert.equal(clash({ front: 1 }, { front: 1, address: "127.0.0.1" }), true);
    assert.equal(clash({ front: 1, address: "0.0.0.0" }, { front: 1, address: "10.0.0.1" }), true);
    assert.equal(clash({ front: 1, address: "0.0.0.0" }, { front: 1, address: "::" }), false);
    assert.equal(clash({ front: 1, address: "10.0.0.1" }, { front: 1, address: "10.0.0.2" }), false);
    assert.equal(clash({ front: 1 }, { front: 2 }), false);
  });
});

suite("parseHostPort()", () => {
  test("reads names and addresses, and refuses what has no port", () => {
    assert.deepEqual(parseHostPort("localhost:80"), { host: "localhost", port: 80 });
    assert.deepEqual(parseHostPort("[::1]:80"), { host: "::1", port: 80 });
    for (const text of ["localhost", "80", ":80", "::1:80", "a b:80"])
      assert.throws(() => parseHostPort(text), UnitError);
  });
});

suite("suggest()", () => {
  test("finds the nearest word, at most two letters away", () => {
    assert.equal(suggest("idle_timout", ["idle_timeout", "start_timeout"]), "idle_timeout");
    assert.equal(suggest("Ports", ["port", "ports"]), "ports");
    assert.equal(suggest("elephant", ["ports"]), undefined);
    assert.equal(suggest("x", ["y"]), undefined);
  });
});
