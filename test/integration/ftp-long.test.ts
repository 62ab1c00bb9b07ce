/**
 * An upload and a download that outlast the idle timeout several times. In every run small and slow; with
 * WAKEPORT_TEST_FTP_MB=2048 of 2 GB.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { before, suite, test } from "node:test";
import { buildVsftpd, cannotServeFtp, FtpBench } from "../support/engine/vsftpd-bench.ts";
import { eventually } from "../support/eventually.ts";

const BYTES = Number(process.env["WAKEPORT_TEST_FTP_MB"] ?? 12) * 2 ** 20;
/** How long each takes at least; the idle timeout of the bench is 1 s. */
const LASTS_S = 6;

const skip = await cannotServeFtp();
if (skip === false) before(buildVsftpd);

suite("a long transfer", { skip }, () => {
  test("is never cut, and is followed by 226 and by sleep", async () => {
    const slow = { anon_max_rate: String(Math.ceil(BYTES / LASTS_S)) };
    await using ftp = await FtpBench.open({ settings: slow });
    // Nothing is kept: what comes back is compared by its hash.
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
    const told = (await ftp.python(script, 590_000)).split("\n");
    const codes = [0, 1, 2, 4].map((index) => told[index]?.slice(0, 3));
    assert.deepEqual(codes, ["226", "200", "226", "221"]);
    assert.equal(told[3], `True ${BYTES}`);
    await eventually("it sleeps", () => ftp.isAsleep(), 20_000);
    assert.equal(await ftp.metric('wakeport_activations_total{service="ftp",outcome="ready"}'), 1);
    assert.equal(await ftp.metric('wakeport_sleeps_total{service="ftp",reason="idle",action="stop"}'), 1);
    const events = ftp.program.log.map(({ event }) => event);
    assert.ok(events.indexOf("connection.closed") < events.indexOf("target.stopping"), "it slept under somebody");
    for (const direction of ["in", "out"]) {
      assert.ok((await ftp.metric(`wakeport_transferred_bytes_total{service="ftp",direction="${direction}"}`)) > BYTES);
    }
  });
});
