/** Recognizes the end of a TLS stream (RFC 8446 section 6.1, RFC 5246 section 7.2.1) without its keys. */

const ALERT = 0x15;
const APPLICATION_DATA = 0x17;
const HEADER_LENGTH = 5;
/** Length of an encrypted alert of TLS 1.3, which looks like data: two bytes, the real type, and a tag of 16 bytes. */
const HIDDEN_ALERT_LENGTH = 19;
/** Longest alert of TLS 1.2: two bytes in CBC blocks, with IV and a SHA-384 MAC. */
const MAX_ALERT = 80;
/** A close_notify that is not encrypted: a level, which does not matter, and the description 0. */
const PLAIN_LENGTH = 2;
const CLOSE_NOTIFY = 0;
/** Types of records: change of cipher, alert, handshake, data. */
const FIRST_TYPE = 0x14;
const LAST_TYPE = 0x17;

/** Length of the longest TLS close. */
export const TLS_CLOSE_BYTES: number = HEADER_LENGTH + MAX_ALERT;

/** Whether bytes, at least two, may begin with a TLS record. */
export function startsWithTlsRecord(bytes: Buffer): boolean {
  return bytes[0]! >= FIRST_TYPE && bytes[0]! <= LAST_TYPE && bytes[1] === 3;
}

/** Whether bytes of a stream end with a complete TLS record that is an alert: no data may follow a close_notify. */
export function endsWithTlsClose(bytes: Buffer): boolean {
  const tail = bytes.subarray(-TLS_CLOSE_BYTES);
  for (let at = tail.length - HEADER_LENGTH - PLAIN_LENGTH; at >= 0; at -= 1) {
    const type = tail[at];
    if ((type !== ALERT && type !== APPLICATION_DATA) || tail[at + 1] !== 3 || tail[at + 2]! > 4) continue;
    const length = tail.length - at - HEADER_LENGTH;
    if (tail.readUInt16BE(at + 3) !== length) continue;
    if (type === APPLICATION_DATA) return length === HIDDEN_ALERT_LENGTH;
    return length > PLAIN_LENGTH || tail.at(-1) === CLOSE_NOTIFY;
  }
  return false;
}
