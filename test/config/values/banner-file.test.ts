import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, suite, test } from "node:test";
import { MAX_BANNER, readBanner } from "../../../src/config/values/banner-file.ts";
import { UnitError } from "../../../src/config/values/units.ts";

const folder = mkdtempSync(path.join(tmpdir(), "banner-"));
after(() => rmSync(folder, { recursive: true }));

function written(name: string, content: Buffer | string): string {
  const file = path.join(folder, name);
  writeFileSync(file, content);
  return file;
}

suite("readBanner()", () => {
  test("returns the bytes unchanged", () => {
    const bytes = Buffer.from([0, 255, 13, 10, 0xc3, 0x28]);
    assert.ok(readBanner(written("bytes", bytes)).equals(bytes));
    assert.equal(readBanner(written("long", Buffer.alloc(MAX_BANNER, "x"))).length, MAX_BANNER);
  });

  const bad: Readonly<Record<string, [() => string, RegExp]>> = {
    "a missing file": [() => path.join(folder, "none"), /file ".*none" does not exist/],
    "a file above the limit": [() => written("longer", Buffer.alloc(MAX_BANNER + 1)), /longer than 65536 bytes/],
    "an empty file": [() => written("empty", ""), /is empty/],
    "a directory": [() => folder, /is not a regular file/],
    "a device": [() => "/dev/zero", /is not a regular file/],
    "an invalid name": [() => "a\0b", /null bytes/],
  };
  for (const [name, [file, message]] of Object.entries(bad)) {
    test(`rejects ${name}`, () => {
      assert.throws(
        () => readBanner(file()),
        (error) => error instanceof UnitError && message.test(error.message),
      );
    });
  }
});
