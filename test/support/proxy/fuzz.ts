/** Random tests for readers of first bytes, which arrive in pieces and may be invalid. */
import assert from "node:assert/strict";
import fc from "fast-check";

/** Set WAKEPORT_TEST_FUZZ for a long run of 100,000. */
export const numRuns: number = Number(process.env["WAKEPORT_TEST_FUZZ"] ?? 2_000);

/** The result of a reader: incomplete, a value, or an error of its class. */
export type Reading = { readonly value: unknown } | { readonly error: string } | undefined;

type Refusal = abstract new (...parameters: never[]) => Error;

function readingOf(read: (bytes: Buffer) => unknown, bytes: Buffer, refusal: Refusal): Reading {
  try {
    const value = read(bytes);
    return value === undefined ? undefined : { value };
  } catch (error) {
    assert.ok(error instanceof refusal, `threw ${String(error)}`);
    return { error: error.message };
  }
}

/**
 * Reads growing prefixes of the bytes, cut at these places (from 0 to 1), and last all bytes: each time with a new
 * reader, and with one that has read the earlier prefixes.
 *
 * @returns the result, after asserting that it is the same for both readers and does not change once it is complete
 */
export function readInPieces(
  newReader: () => (bytes: Buffer) => unknown,
  bytes: Buffer,
  cuts: readonly number[],
  refusal: Refusal,
): Reading {
  let known: Reading;
  const first = newReader();
  const lengths = cuts.map((cut) => Math.floor(cut * bytes.length)).toSorted((a, b) => a - b);
  for (const length of [...lengths, bytes.length]) {
    const arrived = bytes.subarray(0, length);
    const reading = readingOf(newReader(), arrived, refusal);
    if (known === undefined) assert.deepEqual(readingOf(first, arrived, refusal), reading);
    else assert.deepEqual(reading, known);
    known = reading;
  }
  return known;
}

/** Places of the cuts. */
export const cuts: fc.Arbitrary<number[]> = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 6 });

/** Damage to bytes: some are changed, removed or repeated, or the rest is cut off. */
export const damage: fc.Arbitrary<(bytes: Buffer) => Buffer> = fc
  .array(
    fc.record({
      kind: fc.constantFrom("set", "set", "cut", "repeat", "end"),
      at: fc.double({ min: 0, max: 1, noNaN: true }),
      byte: fc.nat(255),
    }),
    { minLength: 1, maxLength: 4 },
  )
  .map((changes) => (bytes) => {
    let changed: Buffer = Buffer.from(bytes);
    for (const { kind, at, byte } of changes) {
      const index = Math.floor(at * changed.length);
      const [before, after] = [changed.subarray(0, index), changed.subarray(index)];
      if (kind === "set") changed = Buffer.concat([before, Buffer.from([byte]), after.subarray(1)]);
      else if (kind === "cut") changed = Buffer.concat([before, after.subarray(1 + (byte % 8))]);
      else if (kind === "repeat") changed = Buffer.concat([before, after.subarray(0, 1 + (byte % 8)), after]);
      else changed = before;
    }
    return changed;
  });
