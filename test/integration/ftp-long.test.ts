/**
 * An upload and a download that take several idle timeouts. Small and slow by default; with
 * WAKEPORT_TEST_FTP_MB=2048 they have 2 GB.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { before, suite, test } from "node:test";
import { buildVsftpd, cannotServeFtp, FtpBench } from "../support/engine/vsftpd-bench.ts";
import { eventually } from "../support/eventually.ts";

const BYTES = Number(process.env["WAKEPORT_TEST_FTP_MB"] ?? 12) * 2 ** 20;
/** The minimum time of each transfer; the idle timeout of the bench is 1 s. */
const LASTS_S = 6;

const skip = await cannotServeFtp();
if (skip === false) before(buildVsftpd);

suite("a long transfer", { skip }, () => {
  test("is not cut, and is followed by 226 and by sleep", async () => {
    const slow = { anon_max_rate: String(Math.ceil(BYTES / LASTS_S)) };
    await using ftp = await FtpBench.open({ settings: slow });
    // The received bytes are compared by hash.
    const script = `
import hashlib, time
block = bytes(range(256)) * 4096
class Source:
    def __init__(self):
        self.left, self.hash = ${BYTES}, hashlib.md5()
    def read(self, size):
        piece = block[:min(size, self.left)]
        self.left -= len(piece)
        self.hash.update(piece)
        return piece
began = time.monotonic()
source = Source()
print(ftp.storbinary("STOR incoming/long", source, 65536))
print(ftp.sendcmd("NOOP"))
received = hashlib.md5()
print(ftp.retrbinary("RETR incoming/long", received.update, 65536))
print(received.hexdigest() == source.hash.hexdigest(), ftp.size("incoming/long"))
print(ftp.quit())
print(f"{time.monotonic() - began:.1f} s", file=sys.stderr)`;
    const reported = (await ftp.python(script, 590_000)).split("\n");
    const codes = [0, 1, 2, 4].map((index) => reported[index]?.slice(0, 3));
    assert.deepEqual(codes, ["226", "200", "226", "221"]);
    assert.equal(reported[3], `True ${BYTES}`);
    await eventually("the server sleeps", () => ftp.isAsleep(), 20_000);
    assert.equal(await ftp.metric('wakeport_activations_total{service="ftp",outcome="ready"}'), 1);
    assert.equal(await ftp.metric('wakeport_sleeps_total{service="ftp",reason="idle",action="stop"}'), 1);
    const events = ftp.program.log.map(({ event }) => event);
    assert.ok(
      events.indexOf("connection.closed") < events.indexOf("target.stopping"),
      "the server slept during a transfer",
    );
    for (const direction of ["in", "out"]) {
      assert.ok((await ftp.metric(`wakeport_transferred_bytes_total{service="ftp",direction="${direction}"}`)) > BYTES);
    }
  });
});
