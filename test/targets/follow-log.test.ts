import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { LogFrames } from "../../src/docker/log-frames.ts";
import { startOfLog } from "../../src/targets/follow-log.ts";

/** A frame of the engine's log stream. */
function frame(body: string, stream = 1): Buffer {
  const bytes = Buffer.from(body);
  const header = Buffer.from([stream, 0, 0, 0, 0, 0, 0, 0]);
  header.writeUInt32BE(bytes.length, 4);
  return Buffer.concat([header, bytes]);
}

suite("LogFrames", () => {
  test("decodes frames from any chunks, separately for each stream", () => {
    const bodies = fc.array(fc.record({ body: fc.string({ unit: "binary" }), stream: fc.constantFrom(1, 2) }));
    fc.assert(
      fc.property(bodies, fc.infiniteStream(fc.integer({ min: 1, max: 20 })), (frames, sizes) => {
        const all = Buffer.concat(frames.map(({ body, stream }) => frame(body, stream)));
        const parts: [Buffer[], Buffer[]] = [[], []];
        const reader = new LogFrames((bytes, isError) => parts[isError ? 1 : 0].push(Buffer.from(bytes)));
        for (let at = 0; at < all.length; ) {
          const size = sizes.next().value ?? 1;
          reader.push(all.subarray(at, at + size));
          at += size;
        }
        for (const stream of [1, 2] as const) {
          const sent = frames.filter((one) => one.stream === stream).map(({ body }) => Buffer.from(body));
          assert.deepEqual(Buffer.concat(parts[stream - 1] ?? []), Buffer.concat(sent));
        }
      }),
    );
  });
});

suite("startOfLog()", () => {
  const startedAt = "2026-01-01T00:01:00.5Z";
  const began = (finishedAt: string): string => new Date(startOfLog({ startedAt, finishedAt })).toISOString();

  test("is halfway between the previous end and the start", () => {
    assert.equal(began("2026-01-01T00:01:00.1Z"), "2026-01-01T00:01:00.300Z");
  });

  test("is at most 5 s before the start, also without a previous end", () => {
    assert.equal(began("2026-01-01T00:00:00Z"), "2026-01-01T00:00:55.500Z");
    assert.equal(began("0001-01-01T00:00:00Z"), "2026-01-01T00:00:55.500Z");
  });

  test("is the start if the clock was set back meanwhile", () => {
    assert.equal(began("2026-01-01T00:02:00Z"), "2026-01-01T00:01:00.500Z");
  });
});
