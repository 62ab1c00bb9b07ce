/** Ends of TLS streams, without the keys. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { endsWithTlsClose } from "../../src/net/tls-close.ts";

/** Returns a record of this type, version 3.3. */
function record(type: number, length: number): Buffer {
  const body = Buffer.alloc(length, 0x15);
  return Buffer.concat([Buffer.from([type, 3, 3, length >> 8, length & 255]), body]);
}

const ALERT = 0x15;
const DATA = 0x17;
const plainClose = Buffer.from("15030300020100", "hex");

suite("endsWithTlsClose()", () => {
  for (const length of [18, 26, 48, 64, 80]) {
    test(`finds an encrypted alert of ${length} bytes of TLS 1.2`, () => {
      assert.equal(endsWithTlsClose(record(ALERT, length)), true);
      assert.equal(endsWithTlsClose(Buffer.concat([record(DATA, 100), record(ALERT, length)])), true);
    });
  }

  test("finds the alert of TLS 1.3, also behind other records", () => {
    assert.equal(endsWithTlsClose(record(DATA, 19)), true);
    assert.equal(endsWithTlsClose(Buffer.concat([record(DATA, 16_000), record(DATA, 19)])), true);
  });

  test("finds a close_notify that is not encrypted, and no other alert", () => {
    assert.equal(endsWithTlsClose(plainClose), true);
    assert.equal(endsWithTlsClose(Buffer.from("15030300020228", "hex")), false);
  });

  const others: Readonly<Record<string, Buffer>> = {
    nothing: Buffer.alloc(0),
    text: Buffer.from("221 Goodbye\r\n"),
    "a record of data": record(DATA, 20),
    "a handshake": record(0x16, 19),
    "an alert that is not complete": record(DATA, 19).subarray(0, -1),
    "data after an alert": Buffer.concat([record(DATA, 19), record(DATA, 30)]),
    "a record that contains the bytes of an alert": Buffer.concat([record(DATA, 40), Buffer.from("x")]),
  };
  for (const [name, bytes] of Object.entries(others)) {
    test(`returns false for ${name}`, () => assert.equal(endsWithTlsClose(bytes), false));
  }
});
