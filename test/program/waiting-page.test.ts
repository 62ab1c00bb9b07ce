/**
 * A real browser at the waiting page of the real program. WAKEPORT_TEST_START_S is the start time of the target in seconds.
 * WAKEPORT_TEST_BROWSER=required fails without a browser. WAKEPORT_TEST_SHOTS is a folder for screenshots.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import type net from "node:net";
import { suite, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { Chromium, cannotBrowse } from "../support/program/chromium.ts";
import { Program } from "../support/program/program.ts";
import { temporaryFile } from "../support/temporary-file.ts";

const skip = await cannotBrowse();
if (skip !== false) console.log(`${skip}; the waiting page is NOT TESTED in one.`);

const startMs = Number(process.env["WAKEPORT_TEST_START_S"] ?? 3) * 1_000;

/** Sends the received request; starts slowly, and prints text that could break a page. */
const SITE = `
  const steps = setInterval(() => console.log("step <b>" + Math.round(performance.now() / 200) + "</b>"), 200);
  setTimeout(() => {
    clearInterval(steps);
    require("node:http").createServer(({ url, headers }, response) => {
      console.log("asked for " + url);
      response.writeHead(200, { "content-type": "text/html", connection: "close" });
      response.end("<title>The site</title>" + url + " from " + headers["sec-fetch-site"] + " with " + headers.cookie);
    }).listen(Number(process.argv[1]), "127.0.0.1");
  }, Number(process.argv[2]));`;

interface Sites extends AsyncDisposable {
  readonly program: Program;
  /** The ports of the site that starts and of the site that does not. */
  readonly web: string;
  readonly bad: string;
}

async function open(): Promise<Sites> {
  const [web, webTarget, bad, badTarget, admin] = [
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
  ];
  const site = [process.execPath, "-e", SITE, String(webTarget), String(startMs)];
  const broken = ["sh", "-c", 'sleep 1; echo "no <database>"; exit 3'];
  const config = `
admin: { listen: "127.0.0.1:${admin}" }
services:
  web:
    ports: ["127.0.0.1:${web}"]
    process: { command: ${JSON.stringify(site)}, listen: "127.0.0.1:${webTarget}" }
  bad:
    ports: ["127.0.0.1:${bad}"]
    process: { command: ${JSON.stringify(broken)}, listen: "127.0.0.1:${badTarget}" }
defaults: { protocol: http, hold: { page: { log_lines: 3 } } }
`;
  const file = await temporaryFile("wakeport.yaml", config);
  const program = new Program(["run", "-c", file.path]);
  const readiness = `http://127.0.0.1:${admin}/readyz`;
  await eventually("wakeport", () =>
    fetch(readiness).then(
      ({ ok }) => ok,
      () => false,
    ),
  );
  return {
    program,
    web: `http://127.0.0.1:${web}/list?page=2`,
    bad: `http://127.0.0.1:${bad}/`,
    [Symbol.asyncDispose]: async () => {
      await program[Symbol.asyncDispose]();
      await file[Symbol.asyncDispose]();
    },
  };
}

/** The number of requests for the page of the site. */
function asked({ log }: Program): number {
  return log.filter(({ msg }) => String(msg).includes("asked for /list")).length;
}

suite("a browser at a waiting page", { skip }, () => {
  test("shows the progress of the target, and then the site", async (t) => {
    await using sites = await open();
    await using browser = await Chromium.open();
    await browser.goTo(sites.web);
    await browser.shows("Starting web…");
    await eventually("three lines", async () => /^(step <b>\d+<\/b>\n?){3}$/.test(await browser.seen("pre")));
    await eventually("the time", async () => /^[2-9] s$/.test(await browser.seen("time")));
    assert.equal(await browser.seen("h1"), "Starting web…");
    assert.match(await browser.seen("p"), /^It is starting; still missing: tcp \d+\.$/);
    const shot = process.env["WAKEPORT_TEST_SHOTS"];
    if (shot !== undefined) await browser.shoot(`${shot}/waiting.png`);
    await browser.shows("The site");
    assert.equal(await browser.evaluate("location.href"), sites.web);
    assert.equal(asked(sites.program), 1, "the site has received one request");
    const refused = browser.complaints.filter((complaint) => /policy|script|refused/i.test(complaint));
    assert.deepEqual(refused, []);
    t.diagnostic(`the target took ${startMs / 1000} s`);
    const [first] = sites.program.log.filter(({ event }) => event === "connection.closed");
    assert.deepEqual([first?.["outcome"], first?.["end"]], ["served", "page"]);
  });

  test("shows the site without scripts too", async () => {
    await using sites = await open();
    await using browser = await Chromium.open();
    await browser.withoutScripts();
    await browser.goTo(sites.web);
    await browser.shows("Starting web…");
    await browser.shows("The site");
    assert.equal(asked(sites.program), 1);
  });

  test("shows the reason of a failed start, and retries when the user does", async () => {
    await using sites = await open();
    await using browser = await Chromium.open();
    await browser.goTo(sites.bad);
    await browser.shows("Starting bad…");
    await browser.shows("bad did not start");
    await eventually("the last output", async () => (await browser.seen("pre")) === "no <database>");
    assert.equal(await browser.seen("h1"), "bad did not start");
    assert.match(await browser.seen("p"), /^It ended while it was starting\. Try again in \d s\.$/);
    assert.equal(await browser.seen("a"), "Try again");
    assert.equal(await browser.seen("time"), "");
    const attempts = (): number => sites.program.log.filter(({ event }) => event === "target.failed").length;
    assert.equal(attempts(), 1);
    await browser.evaluate('document.querySelector("a").click()');
    await browser.shows("bad is not available");
    // The browser may have opened this connection ahead of time, so that it waited for the same start.
    assert.match(
      await browser.seen("p"),
      /^It (failed to start a moment ago|ended while it was starting)\. Try again in/,
    );
    assert.equal(attempts(), 1, "there is no attempt before the retry is due");
    await eventually("another attempt", async () => {
      await browser.evaluate('document.querySelector("a")?.click()').catch(() => {});
      return (await browser.title().catch(() => "")) === "Starting bad…";
    });
    await browser.shows("bad did not start");
    await eventually("the attempt is reported", () => attempts() === 2);
  });

  test("that another site sent there sends no cookies with SameSite=Strict to the target", async () => {
    await using sites = await open();
    const other = http.createServer((_, response) => {
      response.writeHead(200, { "content-type": "text/html" });
      response.end(`<title>Elsewhere</title><a href="${sites.web}">there</a>`);
    });
    other.listen(0, "127.0.0.1");
    await once(other, "listening");
    await using browser = await Chromium.open();
    const { port } = other.address() as net.AddressInfo;
    for (const [cookie, sameSite] of Object.entries({ own: "Strict", any: "Lax" })) {
      await browser.setCookie({ url: sites.web, name: cookie, value: "1", sameSite });
    }
    await browser.goTo(`http://elsewhere.localhost:${port}/`);
    await browser.shows("Elsewhere");
    await browser.evaluate('document.querySelector("a").click()');
    await browser.shows("Starting web…");
    await browser.shows("The site");
    assert.match(await browser.text(), / from cross-site with any=1$/);
    // A navigation by the user sends all cookies, also after a waiting page.
    await browser.goTo(sites.web);
    await eventually("the site is shown", async () =>
      / from none with (own=1; any=1|any=1; own=1)$/.test(await browser.text()),
    );
    other.close();
    other.closeAllConnections();
  });
});
