import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { escapeHtml, visibleLine } from "../../../../src/proxy/protocols/http/escape.ts";
import {
  elapsed,
  failure,
  output,
  pageStart,
  policy,
  reload,
  status,
} from "../../../../src/proxy/protocols/http/page-html.ts";
import { randomRuns } from "../../../support/activation/random.ts";

const cases: Readonly<Record<string, readonly [line: string, visible: string]>> = {
  "plain text": ["listening on 8080", "listening on 8080"],
  colours: ["\x1b[1;31merror\x1b[0m: no \x1b[38;5;200mdb", "error: no db"],
  "a colour in one byte": ["\x9b31mred", "red"],
  "the title of a window": ["\x1b]0;pwned\x07ready\x1b]8;;http://evil.test\x1b\\link", "readylink"],
  "an escape that was cut off": ["ready\x1b[3", "ready"],
  "a title that was cut off": ["ready\x1b]0;pwn", "ready"],
  "a progress bar": ["10 %\r20 %\r30 %\r", "30 %"],
  tabs: ["a\tb", "a  b"],
  "bells, backspaces and zeros": ["a\x07b\bc\x00d\x7f", "abcd"],
  "text in the other direction": ["user\u202egnp.exe\u2066x\u2069\u200f", "usergnp.exex"],
  "invisible characters": ["pa\u200bss\u00adword\ufeff", "password"],
  "other ends of lines": ["a\u2028b\u2029c\x85d", "abcd"],
  "half a character": ["a\ud800b", "ab"],
  "letters of all kinds": ["größe 大きさ 🐋", "größe 大きさ 🐋"],
};

suite("visibleLine()", () => {
  for (const [name, [line, visible]] of Object.entries(cases)) {
    test(`returns the visible text: ${name}`, () => assert.equal(visibleLine(line), visible));
  }

  test("shortens a line between two characters", () => {
    assert.equal(visibleLine("x".repeat(200)), "x".repeat(200));
    assert.equal(visibleLine("🐋".repeat(201)), `${"🐋".repeat(200)} […]`);
    assert.equal(visibleLine("\x1b[0m".repeat(1 << 20)), " […]");
  });

  test("returns one line of text without markup", (t) => {
    const parts = [
      "<",
      ">",
      "&",
      '"',
      "'",
      "\x1b[",
      "\x1b]",
      "\x07",
      "\r",
      "\n",
      "\u202e",
      "</pre>",
      "<script>",
      "]]>",
      "&lt;",
    ];
    const anything = fc
      .array(fc.oneof(fc.constantFrom(...parts), fc.string({ unit: "binary" })))
      .map((all) => all.join(""));
    fc.assert(
      fc.property(anything, (line) => {
        const visible = visibleLine(line);
        assert.ok(Array.from(visible).length <= 204);
        assert.doesNotMatch(visible, /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]/u);
        const escaped = escapeHtml(visible);
        assert.doesNotMatch(escaped, /[<>"']|&(?!(amp|lt|gt|quot|#39);)/);
      }),
      randomRuns(t, 2_000),
    );
  });
});

suite("the page", () => {
  const evil = `"><script>alert(1)</script><img src=x onerror='alert(2)'>`;

  test("is small", () => {
    assert.ok(Buffer.byteLength(pageStart("Starting web…") + status("x") + elapsed(1) + reload) < 6 * 1024);
  });

  test("contains only its own elements, for any service name, state and output", () => {
    const whole = [pageStart(evil), status(evil), elapsed(3), output([evil, "</pre>", evil]), failure(evil, evil)].join(
      "",
    );
    const scripts = [...whole.matchAll(/<script[^>]*>(.*?)<\/script>/gs)].map(([, text]) => text);
    assert.equal(scripts.length, 1);
    assert.doesNotMatch(scripts[0] ?? "", /alert/);
    assert.doesNotMatch(whole, /<img/);
    assert.equal(whole.match(/<\/pre>/g)?.length, 1);
  });

  test("loads nothing, and its policy allows only its own style and scripts", () => {
    const whole = pageStart("Starting web…") + output(["x"]) + reload + failure("a", "b");
    assert.deepEqual(whole.match(/https?:|src=|@import|url\(/g), null);
    assert.match(policy(), /^default-src 'none'; style-src 'sha256-[^']+'; script-src 'sha256-[^']+' 'sha256-[^']+';/);
    assert.doesNotMatch(policy(), /unsafe|\*/);
  });
});
