/** SIGHUP to the real program while clients wait with a partly sent greeting. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { suite, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { connect, type Peer } from "../support/net/tcp.ts";
import { Bench } from "../support/program/reloading.ts";
import { temporaryFile } from "../support/temporary-file.ts";

const WAIT = "220-mail is starting, please wait\r\n";
const GREETING = "220 mx ESMTP\r\n";

/** Sends a greeting on a port as soon as a file is not empty. */
const server = `const [port, file] = process.argv.slice(1);
const timer = setInterval(() => {
  if (require("fs").readFileSync(file, "utf8") === "") return;
  clearInterval(timer);
  require("net").createServer((s) => { s.on("error", () => {}); s.end("220 mx ESMTP\\r\\n"); }).listen(Number(port), "127.0.0.1");
}, 20);`;

function mail(name: string, listenPort: number, upstream: number, args: readonly string[], more = ""): string {
  const command = JSON.stringify([process.execPath, "-e", ...args]);
  const target = `process: { command: ${command}, listen: "127.0.0.1:${upstream}" }`;
  return `  ${name}: { ports: ["127.0.0.1:${listenPort}"], protocol: smtp, ${target}${more} }\n`;
}

async function receives(client: Peer, what: string): Promise<void> {
  await eventually(JSON.stringify(what), () => client.text.includes(what) || client.fate !== "open");
}

suite("wakeport run, reloaded while clients wait", () => {
  test("continues begun greetings, and holds new clients by the new configuration", async () => {
    await using signal = await temporaryFile("go", "");
    const [listenPort, up, other, otherUp] = [await freePort(), await freePort(), await freePort(), await freePort()];
    const args = [server, String(up), signal.path];
    const beside = mail("beside", other, otherUp, [server, String(otherUp), signal.path]);
    await using bench = await Bench.start(mail("mail", listenPort, up, args) + beside);
    using first = await connect(listenPort);
    await receives(first, WAIT);
    await bench.reload(mail("mail", listenPort, up, args, ", hold: silent") + beside);
    using second = await connect(listenPort);
    using third = await connect(other);
    // This client came later, so the second client would have received the line before it.
    await receives(third, "220-");
    assert.equal(second.received, 0);
    await writeFile(signal.path, "go");
    assert.deepEqual([await first.ended(), await second.ended()], ["ended", "ended"]);
    assert.equal(first.text.replaceAll(WAIT, ""), GREETING);
    assert.equal(second.text, GREETING);
  });

  test("completes a begun greeting with an error if the new target fails", async () => {
    await using signal = await temporaryFile("go", "");
    const [listenPort, up] = [await freePort(), await freePort()];
    await using bench = await Bench.start(mail("mail", listenPort, up, [server, String(up), signal.path]));
    using client = await connect(listenPort);
    await receives(client, WAIT);
    await bench.reload(mail("mail", listenPort, up, ["process.exit(3)"]));
    assert.equal(await client.ended(), "ended");
    const reported = client.text.replaceAll(WAIT, "");
    assert.equal(reported, "220 mail\r\n421 4.3.2 mail is not available, try again later\r\n");
    assert.equal((await bench.program.logged("connection.closed"))["outcome"], "start_failed");
  });
});
