import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { printable, printableJson, printableLines } from "../../src/net/escape.ts";

const evil = '\x1b]0;title\x07\x9b2J\x7f\u202e\u2066\u200b\u2028\u{e0001}\ud800 "ü→…"\tend';

suite("Untrusted text", () => {
  test("printable() escapes controls, bidi marks and invisible characters, and keeps the rest", () => {
    const shown = String.raw`\x1b]0;title\x07\x9b2J\x7f\u202e\u2066\u200b\u2028\u{e0001}\ud800 "ü→…"\x09end`;
    assert.equal(printable(evil), shown);
    assert.equal(printable(shown), shown);
    assert.equal(printable("a\nb"), String.raw`a\x0ab`);
  });

  test("printableLines() keeps line ends", () => {
    assert.equal(printableLines("a\x1b\nb"), "a\\x1b\nb");
  });

  test("printableJson() keeps the value", () => {
    const value = { [evil]: [evil, "plain"] };
    for (const indent of [0, 2]) {
      const json = printableJson(JSON.stringify(value, null, indent));
      assert.doesNotMatch(json.replaceAll("\n", ""), /[\p{Cc}\p{Cf}\p{Zl}]/u);
      assert.deepEqual(JSON.parse(json), value);
    }
  });
});
