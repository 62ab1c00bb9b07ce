/** Commands and replies through the filters of a control connection, without sockets. */
import assert from "node:assert/strict";
import process from "node:process";
import { suite, test } from "node:test";
import fc from "fast-check";
import { type Ip, readIp } from "../../../../src/net/ip.ts";
import { ControlChannel } from "../../../../src/proxy/protocols/ftp/control-channel.ts";
import type { DataConnectionOpener } from "../../../../src/proxy/protocols/ftp/control-session.ts";
import { greetingText } from "../../../../src/proxy/protocols/ftp/greeting-text.ts";
import type { GreetingText } from "../../../../src/proxy/protocols/greeting.ts";
import { numRuns } from "../../../support/proxy/fuzz.ts";

const NOTHING = Buffer.alloc(0);

function ip(text: string): Ip {
  const found = readIp(text);
  assert.ok(found);
  return found;
}

interface DialogueOptions {
  readonly client?: string;
  readonly upstream?: "ipv4" | "ipv6";
  readonly isProxied?: boolean;
  readonly startedGreeting?: GreetingText;
  readonly dataConnections?: Partial<DataConnectionOpener>;
}

/** wakeport's ports are those of the client and the server plus 1,000. */
class Dialogue implements Disposable {
  readonly channel: ControlChannel;
  /** Text that each side has received. */
  client = "";
  server = "";
  readonly events: string[] = [];

  constructor(options: DialogueOptions = {}) {
    const {
      client = "192.0.2.7",
      upstream = "ipv4",
      isProxied = false,
      startedGreeting,
      dataConnections = {},
    } = options;
    const own = ip(client);
    this.channel = new ControlChannel({
      client: own,
      isProxied,
      upstream,
      ...(startedGreeting && { startedGreeting }),
      publicAddress: own.family === "ipv4" ? ip("198.51.100.1") : undefined,
      onEncrypted: () => this.events.push("encrypted"),
      onBounce: (address) => this.events.push(`bounce ${address?.port}`),
      dataConnections: {
        passive: async (port) => port + 1_000,
        active: async (port) => ({ ip: ip(upstream === "ipv4" ? "10.0.0.1" : "fd00::1"), port: port + 1_000 }),
        connectClient: () => undefined,
        disconnectClient: () => this.events.push("disconnect"),
        cancel: () => this.events.push("cancel"),
        ...dataConnections,
      },
    });
  }

  /** Sends bytes of the client. Resolves when all were read. */
  async request(bytes: string | Buffer): Promise<void> {
    await this.channel.filters.in.take(Buffer.from(bytes as string, "latin1"), (out) => {
      this.server += out.toString("latin1");
    });
  }

  async answer(bytes: string | Buffer): Promise<void> {
    await this.channel.filters.out.take(Buffer.from(bytes as string, "latin1"), (out) => {
      this.client += out.toString("latin1");
    });
  }

  end(): void {
    this.channel.filters.in.end(NOTHING, (out) => {
      this.server += out.toString("latin1");
    });
    this.channel.filters.out.end(NOTHING, (out) => {
      this.client += out.toString("latin1");
    });
  }

  /** Sends one command and its reply. @returns them as the other side received them */
  async exchange(command: string, reply: string): Promise<[string, string]> {
    this.server = "";
    this.client = "";
    await this.request(`${command}\r\n`);
    await this.answer(`${reply}\r\n`);
    return [this.server, this.client].map((text) => text.replace(/\r\n$/, "")) as [string, string];
  }

  [Symbol.dispose](): void {
    this.channel[Symbol.dispose]();
  }
}

async function greeted(options: DialogueOptions = {}): Promise<Dialogue> {
  const dialogue = new Dialogue(options);
  await dialogue.answer("220 hello\r\n");
  assert.equal(dialogue.client, "220 hello\r\n");
  return dialogue;
}

type Exchange = readonly [command: string, reply: string, forwarded: string, received: string];

function exchanges(name: string, options: DialogueOptions, rows: readonly Exchange[]): void {
  suite(name, () => {
    for (const [command, reply, forwarded, received] of rows) {
      test(`${command} → ${reply}`, async () => {
        using dialogue = await greeted(options);
        assert.deepEqual(await dialogue.exchange(command, reply), [forwarded, received]);
        assert.deepEqual(await dialogue.exchange("NOOP", "200 ok"), ["NOOP", "200 ok"]);
      });
    }
  });
}

const PASV = "227 Entering Passive Mode (10,9,9,9,4,0).";
const EPSV = "229 Extended (|||1024|)";

exchanges("an IPv4 client of an IPv4 server", {}, [
  ["PASV", PASV, "PASV", "227 Entering Passive Mode (198,51,100,1,7,232)."],
  ["PASV", "227 no address", "PASV", "227 no address"],
  ["PASV", "530 Please login.", "PASV", "530 Please login."],
  ["EPSV", EPSV, "EPSV", "229 Extended (|||2024|)"],
  ["EPSV 1", EPSV, "EPSV 1", "229 Extended (|||2024|)"],
  ["EPSV 2", EPSV, "EPSV 2", "522 Network protocol not supported, use (1)"],
  ["PORT 192,0,2,7,4,0", "200 ok", "PORT 10,0,0,1,7,232", "200 ok"],
  ["EPRT |1|192.0.2.7|1024|", "200 ok", "EPRT |1|10.0.0.1|2024|", "200 ok"],
  ["PORT 192,0,2,7,4,0", "500 no", "PORT 10,0,0,1,7,232", "500 no"],
  // Bounce attacks: another address, or a service of the client's machine.
  ["PORT 192,0,2,8,4,0", "500 Illegal", "PORT", "500 Illegal PORT command."],
  ["EPRT |1|192.0.2.8|1024|", "501 Syntax", "EPRT", "500 Illegal EPRT command."],
  // RFC 2577, 3.
  ["PORT 192,0,2,7,3,255", "501 Syntax", "PORT", "504 PORT is not allowed for ports below 1024."],
  ["PORT 192,0,2,7,3,255", "200 whatever", "PORT", "504 PORT is not allowed for ports below 1024."],
  // RFC 2428, 2 and 3.
  ["EPRT |2|fd00::9|1024|", "501 Syntax", "EPRT", "522 Network protocol not supported, use (1)"],
  ["EPRT |2|192.0.2.7|1024|", "200 whatever", "EPRT", "522 Network protocol not supported, use (1)"],
  ["EPRT |3|x|1024|", "500 no", "EPRT", "522 Network protocol not supported, use (1)"],
  ["EPSV 3", EPSV, "EPSV 3", "522 Network protocol not supported, use (1)"],
  ["EPSV junk", EPSV, "EPSV junk", "501 Syntax error in the argument of EPSV."],
  ["PORT", "500 no", "PORT", "501 Syntax error in the argument of PORT."],
  ["PORT junk", "500 no", "PORT", "501 Syntax error in the argument of PORT."],
  ["PORT 192,0,2,7,4", "200 whatever", "PORT", "501 Syntax error in the argument of PORT."],
  ["EPRT", "501 no", "EPRT", "501 Syntax error in the argument of EPRT."],
  ["EPRT junk", "501 no", "EPRT", "501 Syntax error in the argument of EPRT."],
  ["EPRT |1|192.0.2.7|99999|", "501 no", "EPRT", "501 Syntax error in the argument of EPRT."],
  ["EPRT junk", "530 Please login.", "EPRT", "530 Please login."],
  ["PORT 192,0,2,8,4,0", "530 Please login.", "PORT", "530 Please login."],
  ["\xff\xf4PORT 192,0,2,7,4,0", "500 Illegal", "PORT", "500 Illegal PORT command."],
  ["LPRT 4,4,192,0,2,7,2,4,0", "500 what", "LPRT", "502 Use EPRT."],
  ["LPSV", "228 (4,4,10,9,9,9,2,4,0)", "LPSV", "502 Use EPSV."],
]);

exchanges("an IPv4 client of an IPv6 server", { upstream: "ipv6" }, [
  ["PASV", EPSV, "EPSV", "227 Entering Passive Mode (198,51,100,1,7,232)."],
  ["PASV", "229 no port", "EPSV", "425 Cannot open a data connection now."],
  ["PASV", "500 what", "EPSV", "500 what"],
  ["EPSV", EPSV, "EPSV", "229 Extended (|||2024|)"],
  ["EPSV 1", EPSV, "EPSV", "229 Extended (|||2024|)"],
  ["PORT 192,0,2,7,4,0", "200 ok", "EPRT |2|fd00::1|2024|", "200 ok"],
  ["EPRT |1|192.0.2.7|1024|", "200 ok", "EPRT |2|fd00::1|2024|", "200 ok"],
]);

exchanges("an IPv6 client of an IPv4 server", { client: "2001:db8::7" }, [
  ["PASV", PASV, "PASV", "425 PASV cannot be used here: use EPSV."],
  ["EPSV", EPSV, "EPSV", "229 Extended (|||2024|)"],
  ["EPSV 2", EPSV, "EPSV", "229 Extended (|||2024|)"],
  ["EPRT |2|2001:db8::7|1024|", "200 ok", "EPRT |1|10.0.0.1|2024|", "200 ok"],
  ["EPRT |2|2001:DB8:0::7|1024|", "200 ok", "EPRT |1|10.0.0.1|2024|", "200 ok"],
  ["PORT 192,0,2,7,4,0", "500 Illegal", "PORT", "500 Illegal PORT command."],
  ["EPRT |1|192.0.2.7|1024|", "500 Illegal", "EPRT", "522 Network protocol not supported, use (2)"],
]);

exchanges("a client behind a proxy", { isProxied: true }, [
  ["PASV", PASV, "PASV", "227 Entering Passive Mode (198,51,100,1,7,232)."],
  // The address would be the proxy's.
  ["PORT 192,0,2,7,4,0", "500 Illegal", "PORT", "502 PORT cannot be used here: use EPSV or PASV."],
  ["EPRT |1|192.0.2.7|1024|", "500 Illegal", "EPRT", "502 EPRT cannot be used here: use EPSV or PASV."],
]);

const unavailable = { passive: async () => undefined, active: async () => undefined };
exchanges("a client without a data connection", { dataConnections: unavailable }, [
  ["PASV", PASV, "PASV", "425 Cannot open a data connection now."],
  ["EPSV", EPSV, "EPSV", "425 Cannot open a data connection now."],
  ["PORT 192,0,2,7,4,0", "500 Illegal", "PORT", "425 Cannot open a data connection now."],
]);

suite("a control connection", () => {
  test("keeps replies in the order of the commands", async () => {
    using dialogue = await greeted({ upstream: "ipv6" });
    await dialogue.request("PASV\r\nEPSV\r\nPORT 192,0,2,8,4,0\r\nNOOP\r\nPASV\r\n");
    assert.equal(dialogue.server, "EPSV\r\nEPSV\r\nPORT\r\nNOOP\r\nEPSV\r\n");
    await dialogue.answer("229 (|||1|)\r\n229 (|||2|)\r\n500 no\r\n200 ok\r\n229 (|||3|)\r\n");
    const ours = ["227 Entering Passive Mode (198,51,100,1,3,233).", "229 (|||1002|)", "500 Illegal PORT command."];
    assert.deepEqual(dialogue.client.split("\r\n").slice(1, 4), ours);
    assert.match(dialogue.client, /200 ok\r\n227 Entering Passive Mode \(198,51,100,1,3,235\)\.\r\n$/);
  });

  test("restores the order after too many or too few replies", async () => {
    using dialogue = await greeted({ upstream: "ipv6" });
    await dialogue.request("\r\nPASV\r\n");
    await dialogue.answer("500 unexpected\r\n");
    await dialogue.request("STRANGE\r\nNOOP\r\nPASV\r\n");
    await dialogue.answer("229 (|||1|)\r\n");
    assert.match(dialogue.client, /227 Entering Passive Mode \(198,51,100,1,3,233\)/);
  });

  test("does not change lines within a reply of several lines", async () => {
    using dialogue = await greeted();
    const reply = `211-help\r\n${PASV}\r\n ${EPSV}\r\n${EPSV}\r\n211 end`;
    assert.deepEqual(await dialogue.exchange("HELP", reply), ["HELP", reply]);
  });

  test("ignores preliminary replies for the order", async () => {
    using dialogue = await greeted({ upstream: "ipv6" });
    await dialogue.request("LIST\r\nPASV\r\n");
    await dialogue.answer("150 here\r\n226 done\r\n229 (|||1|)\r\n");
    assert.match(dialogue.client, /150 here\r\n226 done\r\n227 Entering/);
  });

  test("assigns a reply that cannot belong to a rejected PORT to the next command", async () => {
    using dialogue = await greeted();
    await dialogue.request("ABOR\r\nPORT 192,0,2,8,4,0\r\nSIZE x\r\n");
    dialogue.client = "";
    // The server does not reply to ABOR.
    await dialogue.answer("500 Illegal\r\n213 5\r\n");
    assert.equal(dialogue.client, "500 Illegal\r\n213 5\r\n");
    assert.deepEqual(await dialogue.exchange("NOOP", "200 ok"), ["NOOP", "200 ok"]);
  });

  test("reports a rejected PORT, and closes the listener of a PORT that the server rejects", async () => {
    using dialogue = await greeted();
    await dialogue.request("PORT 192,0,2,7,4,0\r\nPORT 192,0,2,9,4,0\r\nPORT x\r\n\xff\xf4PORT 1\r\n");
    await dialogue.answer("500 no\r\n500 no\r\n500 no\r\n500 no\r\n");
    assert.deepEqual(dialogue.events, ["bounce 1024", "bounce undefined", "cancel"]);
  });

  test("forwards a transfer command, and the commands after it, when the client is connected", async () => {
    const connected = Promise.withResolvers<void>();
    using dialogue = await greeted({ dataConnections: { connectClient: () => connected.promise } });
    const reading = dialogue.request("NOOP\r\nSTOR a\r\nQUIT\r\n");
    await Promise.resolve();
    assert.equal(dialogue.server, "NOOP\r\n");
    connected.resolve();
    await reading;
    assert.equal(dialogue.server, "NOOP\r\nSTOR a\r\nQUIT\r\n");
  });

  test("disconnects the client if the server rejects the transfer", async () => {
    using dialogue = await greeted();
    await dialogue.exchange("RETR a", "150 here\r\n226 done");
    await dialogue.exchange("SIZE a", "550 no");
    assert.deepEqual(dialogue.events, []);
    await dialogue.exchange("RETR a", "550 no");
    assert.deepEqual(dialogue.events, ["disconnect"]);
  });

  test("rejects other commands after EPSV ALL", async () => {
    using dialogue = await greeted({ upstream: "ipv6" });
    await dialogue.exchange("EPSV ALL", "200 ok");
    const reply = "503 Only EPSV is allowed after EPSV ALL.";
    assert.deepEqual(await dialogue.exchange("PASV", "500 only EPSV"), ["PASV", reply]);
    assert.deepEqual(await dialogue.exchange("PASV", PASV), ["PASV", reply]);
    assert.deepEqual(await dialogue.exchange("PORT 192,0,2,7,4,0", "500 what"), ["PORT", reply]);
    assert.deepEqual(await dialogue.exchange("EPRT |1|192.0.2.7|1024|", "200 ok"), ["EPRT", reply]);
    assert.deepEqual(await dialogue.exchange("EPSV", EPSV), ["EPSV", "229 Extended (|||2024|)"]);
  });

  test("applies EPSV ALL before its reply, and not after a negative one", async () => {
    using dialogue = await greeted();
    await dialogue.request("EPSV ALL\r\nPASV\r\nPORT 192,0,2,7,4,0\r\n");
    assert.equal(dialogue.server, "EPSV ALL\r\nPASV\r\nPORT\r\n");
    dialogue.client = "";
    await dialogue.answer(`200 ok\r\n${PASV}\r\n500 no\r\n`);
    const reply = "503 Only EPSV is allowed after EPSV ALL.\r\n";
    assert.equal(dialogue.client, `200 ok\r\n${reply}${reply}`);

    using other = await greeted();
    await other.exchange("EPSV ALL", "500 no");
    assert.match((await other.exchange("PASV", PASV))[1], /^227/);
  });

  test("drops the PORT commands of a client that has gone", async () => {
    const cases: readonly (readonly [sent: string, forwarded: string])[] = [
      ["RETR a\r\nPORT 9,9,9,9,4,0", "RETR a\r\n"],
      ["EPRT |1|9.9.9.9|1024|\r\nRETR a\r\nSTOR half", "RETR a\r\nSTOR half"],
      ["x\rPORT 9,9,9,9,4,0\rRETR a", ""],
      [`PORT 9,9,9,9,4,0${" ".repeat(50_000)}PORT 9,9,9,9,4,0\r\nRETR a`, "RETR a"],
    ];
    for (const [sent, forwarded] of cases) {
      using dialogue = await greeted();
      const reading = dialogue.request(`AUTH TLS\r\n${sent}`);
      dialogue.end();
      await reading;
      assert.equal(dialogue.server, `AUTH TLS\r\n${forwarded}`);
    }
  });

  test("needs no more memory for waiting lines than their bytes", async () => {
    const before = process.memoryUsage().heapUsed;
    const dialogues = await Promise.all(Array.from({ length: 20 }, () => greeted()));
    for (const dialogue of dialogues) void dialogue.request(`AUTH TLS\r\n${"\n".repeat(65_536)}`);
    assert.ok(process.memoryUsage().heapUsed - before < 50_000_000);
    for (const dialogue of dialogues) dialogue[Symbol.dispose]();
  });

  test("rejects a long PORT, and drops all of it", async () => {
    using dialogue = await greeted();
    await dialogue.request(`PORT 192,0,2,7,4,0${" ".repeat(50_000)}\r\nNOOP\r\n`);
    assert.equal(dialogue.server, "PORT\r\nNOOP\r\n");
    await dialogue.request(`RETR ${"x".repeat(50_000)}\r\n`);
    assert.equal(dialogue.server.length, "PORT\r\nNOOP\r\n".length + 50_007);
  });
});

suite("AUTH", () => {
  test("holds later bytes until the reply, and forwards them unchanged after 234", async () => {
    using dialogue = await greeted();
    const reading = dialogue.request("AUTH TLS\r\nPORT 9,9,9,9,4,0\r\nhalf a li");
    await Promise.resolve();
    assert.match(dialogue.server, /^AUTH TLS\r\n$/);
    await dialogue.answer(`234 go on\r\n${PASV}\r\nmore`);
    await reading;
    assert.match(dialogue.server, /^AUTH TLS\r\nPORT 9,9,9,9,4,0\r\nhalf a li$/);
    assert.equal(dialogue.client, `220 hello\r\n234 go on\r\n${PASV}\r\nmore`);
    await dialogue.request("\x16\x03PORT");
    assert.ok(dialogue.server.endsWith("half a li\x16\x03PORT"));
    assert.deepEqual(dialogue.events, ["cancel", "encrypted"]);
  });

  test("changes nothing if it is rejected", async () => {
    using dialogue = await greeted();
    const reading = dialogue.request("NOOP\r\nAUTH TLS\r\nPORT 192,0,2,7,4,0\r\n");
    await dialogue.answer("200 ok\r\n");
    assert.equal(dialogue.server, "NOOP\r\nAUTH TLS\r\n");
    await dialogue.answer("530 Please login.\r\n");
    await reading;
    assert.equal(dialogue.server, "NOOP\r\nAUTH TLS\r\nPORT 10,0,0,1,7,232\r\n");
    assert.deepEqual(dialogue.events, []);
  });

  test("ends its wait when the server is gone", async () => {
    using dialogue = await greeted();
    const reading = dialogue.request("AUTH TLS\r\nNOOP\r\n");
    dialogue.channel.filters.out.end(NOTHING, () => {});
    await reading;
    assert.equal(dialogue.server, "AUTH TLS\r\nNOOP\r\n");
  });
});

suite("a started greeting", () => {
  const started = { startedGreeting: greetingText("ftp") };
  const cases: Readonly<Record<string, readonly [server: string, client: string]>> = {
    "continues with the server's": ["220 hello\r\n", "220 hello\r\n"],
    "continues with one of several lines": [
      "220-hello\r\n227 (1,2,3,4,5,6)\r\n220 you\r\n",
      "220-hello\r\n227 (1,2,3,4,5,6)\r\n220 you\r\n",
    ],
    "continues until the server is ready": [
      "120 Ready in 5 minutes\r\n220 hello\r\n",
      "220-Ready in 5 minutes\r\n220 hello\r\n",
    ],
    "ends before a rejection": ["421 Too many\r\n", "220 ftp\r\n421 Too many\r\n"],
  };
  for (const [name, [server, client]] of Object.entries(cases)) {
    test(name, async () => {
      using dialogue = new Dialogue(started);
      await dialogue.answer(server);
      assert.equal(dialogue.client, client);
    });
  }

  test("ends if the server sends none", () => {
    using dialogue = new Dialogue(started);
    dialogue.end();
    assert.match(dialogue.client, /^220 .*\r\n421 .*\r\n$/);
  });

  test("is not the reply to a command that was sent early", async () => {
    using dialogue = new Dialogue({ ...started, upstream: "ipv6" });
    await dialogue.request("PASV\r\n");
    await dialogue.answer("220 hello\r\n229 (|||1|)\r\n");
    assert.match(dialogue.client, /^220 hello\r\n227 Entering/);
  });
});

/** Splits bytes at these positions, modulo the length. */
function cut(text: string, at: readonly number[]): Buffer[] {
  const bytes = Buffer.from(text, "latin1");
  const ends = [...at.map((one) => one % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  return ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end));
}

suite("random bytes in random pieces", () => {
  const lines = (...known: readonly string[]): fc.Arbitrary<string> => {
    const noise = fc.string({ unit: fc.constantFrom(..."\0\r\n\xff\xf4 APORTSVEL,|123()x-"), maxLength: 30 });
    const line = fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...known) }, { weight: 1, arbitrary: noise });
    return fc.array(line, { maxLength: 15 }).map((all) => all.join(""));
  };
  const cuts = fc.array(fc.nat(10_000), { maxLength: 6 });

  test("pass unchanged if they contain no address", async () => {
    const harmless = fc.string({ unit: fc.constantFrom(..."\0\r\n\xff\xf4 abcdef0123456789,|()-"), maxLength: 200 });
    await fc.assert(
      fc.asyncProperty(harmless, harmless, cuts, async (commands, replies, at) => {
        using dialogue = await greeted();
        dialogue.client = "";
        for (const chunk of cut(commands, at)) await dialogue.request(chunk);
        for (const chunk of cut(replies.replaceAll(/22[79]/g, "200"), at)) await dialogue.answer(chunk);
        dialogue.end();
        assert.equal(dialogue.server, commands);
        assert.equal(dialogue.client, replies.replaceAll(/22[79]/g, "200"));
      }),
      { numRuns },
    );
  });

  test("reach the server only with wakeport's address, independent of the pieces", async () => {
    const commands = lines(
      "USER a\r\n",
      "PASV\r\n",
      "EPSV\n",
      "EPSV ALL\r\n",
      "LPSV\r\n",
      "\r\n",
      "PORT 192,0,2,7,4,0\r\n",
      "PORT 192,0,2,8,4,0\r\n",
      "EPRT |1|192.0.2.8|1024|\r\n",
      "EPRT |1|192.0.2.7|1024|\r\n",
      "RETR a\r\n",
    );
    const replies = lines(
      `${PASV}\r\n`,
      `${EPSV}\r\n`,
      "200 ok\r\n",
      "150 x\r\n",
      "226 y\r\n",
      "211-a\r\n",
      "211 b\r\n",
    );
    await fc.assert(
      fc.asyncProperty(commands, replies, cuts, async (commands, replies, at) => {
        const run = async (pieces: readonly number[]): Promise<Dialogue> => {
          const dialogue = await greeted();
          for (const chunk of cut(commands, pieces)) await dialogue.request(chunk);
          for (const chunk of cut(replies, pieces)) await dialogue.answer(chunk);
          dialogue.end();
          dialogue[Symbol.dispose]();
          return dialogue;
        };
        const [whole, cutUp] = [await run([]), await run(at)];
        assert.deepEqual([cutUp.server, cutUp.client, cutUp.events], [whole.server, whole.client, whole.events]);
        for (const [, argument] of whole.server.matchAll(/^\s*(?:PORT|EPRT) +(\S+)/gim)) {
          assert.match(argument ?? "", /^(10,0,0,1,7,232|\|1\|10\.0\.0\.1\|2024\|)$/);
        }
      }),
      { numRuns },
    );
  });
});
