/** What becomes of what both sides say, without any socket. */
import assert from "node:assert/strict";
import process from "node:process";
import { suite, test } from "node:test";
import fc from "fast-check";
import { type Ip, readIp } from "../../../../src/net/ip.ts";
import { ControlChannel, type DataConnectionOpener } from "../../../../src/proxy/protocols/ftp/control-channel.ts";
import { messagesOf } from "../../../../src/proxy/protocols/ftp/messages.ts";
import type { GreetingLines } from "../../../../src/proxy/protocols/greeting.ts";
import { numRuns } from "../../../support/proxy/fuzz.ts";

const NOTHING = Buffer.alloc(0);

function ip(text: string): Ip {
  const found = readIp(text);
  assert.ok(found);
  return found;
}

interface TalkOptions {
  readonly client?: string;
  readonly upstream?: "ipv4" | "ipv6";
  readonly isProxied?: boolean;
  readonly begun?: GreetingLines;
  readonly ways?: Partial<DataConnectionOpener>;
}

/** Ports of ours are those of others plus 1,000. */
class Talk implements Disposable {
  readonly channel: ControlChannel;
  /** What each side has heard. */
  client = "";
  server = "";
  readonly events: string[] = [];

  constructor(options: TalkOptions = {}) {
    const { client = "192.0.2.7", upstream = "ipv4", isProxied = false, begun, ways = {} } = options;
    const own = ip(client);
    this.channel = new ControlChannel({
      client: own,
      isProxied,
      upstream,
      ...(begun && { begun }),
      told: own.family === "ipv4" ? ip("198.51.100.1") : undefined,
      onAside: () => this.events.push("aside"),
      onBounce: (asked) => this.events.push(`bounce ${asked?.port}`),
      ways: {
        passive: async (port) => port + 1_000,
        active: async (port) => ({ ip: ip(upstream === "ipv4" ? "10.0.0.1" : "fd00::1"), port: port + 1_000 }),
        reach: () => undefined,
        release: () => this.events.push("release"),
        forget: () => this.events.push("forget"),
        ...ways,
      },
    });
  }

  /** The client says it. @returns when it was all dealt with */
  async asks(bytes: string | Buffer): Promise<void> {
    await this.channel.filters.in.take(Buffer.from(bytes as string, "latin1"), (out) => {
      this.server += out.toString("latin1");
    });
  }

  async answers(bytes: string | Buffer): Promise<void> {
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

  /** One command and its answer, as both sides have them afterwards. */
  async exchange(command: string, reply: string): Promise<[string, string]> {
    this.server = "";
    this.client = "";
    await this.asks(`${command}\r\n`);
    await this.answers(`${reply}\r\n`);
    return [this.server, this.client].map((text) => text.replace(/\r\n$/, "")) as [string, string];
  }

  [Symbol.dispose](): void {
    this.channel[Symbol.dispose]();
  }
}

async function greeted(options: TalkOptions = {}): Promise<Talk> {
  const talk = new Talk(options);
  await talk.answers("220 hello\r\n");
  assert.equal(talk.client, "220 hello\r\n");
  return talk;
}

type Exchange = readonly [command: string, reply: string, asked: string, told: string];

function exchanges(name: string, options: TalkOptions, rows: readonly Exchange[]): void {
  suite(name, () => {
    for (const [command, reply, asked, told] of rows) {
      test(`${command} → ${reply}`, async () => {
        using talk = await greeted(options);
        assert.deepEqual(await talk.exchange(command, reply), [asked, told]);
        assert.deepEqual(await talk.exchange("NOOP", "200 ok"), ["NOOP", "200 ok"]);
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
  // The bounce: somebody else, or a service of the client's machine.
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
  ["PASV", "229 no port", "EPSV", "425 No data connection can be had now."],
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

exchanges("a client that a proxy has brought", { isProxied: true }, [
  ["PASV", PASV, "PASV", "227 Entering Passive Mode (198,51,100,1,7,232)."],
  // The proxy's own services, and not the client's.
  ["PORT 192,0,2,7,4,0", "500 Illegal", "PORT", "502 PORT cannot be used here: use EPSV or PASV."],
  ["EPRT |1|192.0.2.7|1024|", "500 Illegal", "EPRT", "502 EPRT cannot be used here: use EPSV or PASV."],
]);

const none = { passive: async () => undefined, active: async () => undefined };
exchanges("a client for whom there is no way", { ways: none }, [
  ["PASV", PASV, "PASV", "425 No data connection can be had now."],
  ["EPSV", EPSV, "EPSV", "425 No data connection can be had now."],
  ["PORT 192,0,2,7,4,0", "500 Illegal", "PORT", "425 No data connection can be had now."],
]);

suite("a dialogue", () => {
  test("tells each reply in the order of the commands", async () => {
    using talk = await greeted({ upstream: "ipv6" });
    await talk.asks("PASV\r\nEPSV\r\nPORT 192,0,2,8,4,0\r\nNOOP\r\nPASV\r\n");
    assert.equal(talk.server, "EPSV\r\nEPSV\r\nPORT\r\nNOOP\r\nEPSV\r\n");
    await talk.answers("229 (|||1|)\r\n229 (|||2|)\r\n500 no\r\n200 ok\r\n229 (|||3|)\r\n");
    const ours = ["227 Entering Passive Mode (198,51,100,1,3,233).", "229 (|||1002|)", "500 Illegal PORT command."];
    assert.deepEqual(talk.client.split("\r\n").slice(1, 4), ours);
    assert.match(talk.client, /200 ok\r\n227 Entering Passive Mode \(198,51,100,1,3,235\)\.\r\n$/);
  });

  test("finds its way again when a server answers to nothing, or not to something", async () => {
    using talk = await greeted({ upstream: "ipv6" });
    await talk.asks("\r\nPASV\r\n");
    await talk.answers("500 nothing was asked\r\n");
    await talk.asks("STRANGE\r\nNOOP\r\nPASV\r\n");
    await talk.answers("229 (|||1|)\r\n");
    assert.match(talk.client, /227 Entering Passive Mode \(198,51,100,1,3,233\)/);
  });

  test("leaves alone what is within a reply of several lines", async () => {
    using talk = await greeted();
    const reply = `211-help\r\n${PASV}\r\n ${EPSV}\r\n${EPSV}\r\n211 end`;
    assert.deepEqual(await talk.exchange("HELP", reply), ["HELP", reply]);
  });

  test("preliminary replies answer nothing", async () => {
    using talk = await greeted({ upstream: "ipv6" });
    await talk.asks("LIST\r\nPASV\r\n");
    await talk.answers("150 here\r\n226 done\r\n229 (|||1|)\r\n");
    assert.match(talk.client, /150 here\r\n226 done\r\n227 Entering/);
  });

  test("a reply that cannot be to a refused PORT is to what was asked next", async () => {
    using talk = await greeted();
    await talk.asks("ABOR\r\nPORT 192,0,2,8,4,0\r\nSIZE x\r\n");
    talk.client = "";
    // Of ABOR it says nothing.
    await talk.answers("500 Illegal\r\n213 5\r\n");
    assert.equal(talk.client, "500 Illegal\r\n213 5\r\n");
    assert.deepEqual(await talk.exchange("NOOP", "200 ok"), ["NOOP", "200 ok"]);
  });

  test("a refused PORT is told, and what was opened for one that the server refused is closed", async () => {
    using talk = await greeted();
    await talk.asks("PORT 192,0,2,7,4,0\r\nPORT 192,0,2,9,4,0\r\nPORT x\r\n\xff\xf4PORT 1\r\n");
    await talk.answers("500 no\r\n500 no\r\n500 no\r\n500 no\r\n");
    assert.deepEqual(talk.events, ["bounce 1024", "bounce undefined", "forget"]);
  });

  test("a transfer command waits until the client is reached, and what follows waits behind it", async () => {
    const reached = Promise.withResolvers<void>();
    using talk = await greeted({ ways: { reach: () => reached.promise } });
    const asked = talk.asks("NOOP\r\nSTOR a\r\nQUIT\r\n");
    await Promise.resolve();
    assert.equal(talk.server, "NOOP\r\n");
    reached.resolve();
    await asked;
    assert.equal(talk.server, "NOOP\r\nSTOR a\r\nQUIT\r\n");
  });

  test("a transfer that the server refuses releases its connection, and no other reply does", async () => {
    using talk = await greeted();
    await talk.exchange("RETR a", "150 here\r\n226 done");
    await talk.exchange("SIZE a", "550 no");
    assert.deepEqual(talk.events, []);
    await talk.exchange("RETR a", "550 no");
    assert.deepEqual(talk.events, ["release"]);
  });

  test("EPSV ALL leaves EPSV alone", async () => {
    using talk = await greeted({ upstream: "ipv6" });
    await talk.exchange("EPSV ALL", "200 ok");
    const words = "503 After EPSV ALL there is only EPSV.";
    assert.deepEqual(await talk.exchange("PASV", "500 only EPSV"), ["PASV", words]);
    assert.deepEqual(await talk.exchange("PASV", PASV), ["PASV", words]);
    assert.deepEqual(await talk.exchange("PORT 192,0,2,7,4,0", "500 what"), ["PORT", words]);
    assert.deepEqual(await talk.exchange("EPRT |1|192.0.2.7|1024|", "200 ok"), ["EPRT", words]);
    assert.deepEqual(await talk.exchange("EPSV", EPSV), ["EPSV", "229 Extended (|||2024|)"]);
  });

  test("EPSV ALL counts for commands that come before its reply, and not if the server refuses it", async () => {
    using talk = await greeted();
    await talk.asks("EPSV ALL\r\nPASV\r\nPORT 192,0,2,7,4,0\r\n");
    assert.equal(talk.server, "EPSV ALL\r\nPASV\r\nPORT\r\n");
    talk.client = "";
    await talk.answers(`200 ok\r\n${PASV}\r\n500 no\r\n`);
    const words = "503 After EPSV ALL there is only EPSV.\r\n";
    assert.equal(talk.client, `200 ok\r\n${words}${words}`);

    using other = await greeted();
    await other.exchange("EPSV ALL", "500 no");
    assert.match((await other.exchange("PASV", PASV))[1], /^227/);
  });

  test("an ABOR is passed on whose newline was urgent data, and so never comes", async () => {
    using talk = await greeted();
    for (const late of ["", "\n"]) {
      talk.server = "";
      await talk.asks("ABOR\r");
      assert.equal(talk.server, "ABOR\r\n");
      await talk.asks(`${late}NOOP\r\n`);
      assert.equal(talk.server, "ABOR\r\nNOOP\r\n");
    }
    talk.server = "";
    await talk.asks("\xff\xf4\xffABOR\r\n");
    assert.equal(talk.server, "ABOR\r\n");
  });

  test("nothing that a client leaves behind makes the server dial anybody", async () => {
    const cases: readonly (readonly [left: string, kept: string])[] = [
      ["RETR a\r\nPORT 9,9,9,9,4,0", "RETR a\r\n"],
      ["EPRT |1|9.9.9.9|1024|\r\nRETR a\r\nSTOR half", "RETR a\r\nSTOR half"],
      ["x\rPORT 9,9,9,9,4,0\rRETR a", ""],
      [`PORT 9,9,9,9,4,0${" ".repeat(50_000)}PORT 9,9,9,9,4,0\r\nRETR a`, "RETR a"],
    ];
    for (const [left, kept] of cases) {
      using talk = await greeted();
      const asked = talk.asks(`AUTH TLS\r\n${left}`);
      talk.end();
      await asked;
      assert.equal(talk.server, `AUTH TLS\r\n${kept}`);
    }
  });

  test("what waits costs no more than its bytes, however short its lines are", async () => {
    const before = process.memoryUsage().heapUsed;
    const talks = await Promise.all(Array.from({ length: 20 }, () => greeted()));
    for (const talk of talks) void talk.asks(`AUTH TLS\r\n${"\n".repeat(65_536)}`);
    assert.ok(process.memoryUsage().heapUsed - before < 50_000_000);
    for (const talk of talks) talk[Symbol.dispose]();
  });

  test("a long PORT is refused as well, and nothing of it is left", async () => {
    using talk = await greeted();
    await talk.asks(`PORT 192,0,2,7,4,0${" ".repeat(50_000)}\r\nNOOP\r\n`);
    assert.equal(talk.server, "PORT\r\nNOOP\r\n");
    await talk.asks(`RETR ${"x".repeat(50_000)}\r\n`);
    assert.equal(talk.server.length, "PORT\r\nNOOP\r\n".length + 50_007);
  });
});

suite("AUTH", () => {
  test("what follows waits for the reply, and with 234 passes untouched", async () => {
    using talk = await greeted();
    const asked = talk.asks("AUTH TLS\r\nPORT 9,9,9,9,4,0\r\nhalf a li");
    await Promise.resolve();
    assert.match(talk.server, /^AUTH TLS\r\n$/);
    await talk.answers(`234 go on\r\n${PASV}\r\nmore`);
    await asked;
    assert.match(talk.server, /^AUTH TLS\r\nPORT 9,9,9,9,4,0\r\nhalf a li$/);
    assert.equal(talk.client, `220 hello\r\n234 go on\r\n${PASV}\r\nmore`);
    await talk.asks("\x16\x03PORT");
    assert.ok(talk.server.endsWith("half a li\x16\x03PORT"));
    assert.deepEqual(talk.events, ["forget", "aside"]);
  });

  test("refused, it changes nothing", async () => {
    using talk = await greeted();
    const asked = talk.asks("NOOP\r\nAUTH TLS\r\nPORT 192,0,2,7,4,0\r\n");
    await talk.answers("200 ok\r\n");
    assert.equal(talk.server, "NOOP\r\nAUTH TLS\r\n");
    await talk.answers("530 Please login.\r\n");
    await asked;
    assert.equal(talk.server, "NOOP\r\nAUTH TLS\r\nPORT 10,0,0,1,7,232\r\n");
    assert.deepEqual(talk.events, []);
  });

  test("is not waited for when the server is gone", async () => {
    using talk = await greeted();
    const asked = talk.asks("AUTH TLS\r\nNOOP\r\n");
    talk.channel.filters.out.end(NOTHING, () => {});
    await asked;
    assert.equal(talk.server, "AUTH TLS\r\nNOOP\r\n");
  });
});

suite("a greeting that was begun", () => {
  const begun = { begun: messagesOf("ftp") };
  const cases: Readonly<Record<string, readonly [server: string, client: string]>> = {
    "goes on with the server's": ["220 hello\r\n", "220 hello\r\n"],
    "goes on with one of several lines": [
      "220-hello\r\n227 (1,2,3,4,5,6)\r\n220 you\r\n",
      "220-hello\r\n227 (1,2,3,4,5,6)\r\n220 you\r\n",
    ],
    "goes on until the server is ready": [
      "120 Ready in 5 minutes\r\n220 hello\r\n",
      "220-Ready in 5 minutes\r\n220 hello\r\n",
    ],
    "ends before a refusal": ["421 Too many\r\n", "220 ftp\r\n421 Too many\r\n"],
  };
  for (const [name, [server, client]] of Object.entries(cases)) {
    test(name, async () => {
      using talk = new Talk(begun);
      await talk.answers(server);
      assert.equal(talk.client, client);
    });
  }

  test("ends when there is none", () => {
    using talk = new Talk(begun);
    talk.end();
    assert.match(talk.client, /^220 .*\r\n421 .*\r\n$/);
  });

  test("is not taken for the answer to what the client said early", async () => {
    using talk = new Talk({ ...begun, upstream: "ipv6" });
    await talk.asks("PASV\r\n");
    await talk.answers("220 hello\r\n229 (|||1|)\r\n");
    assert.match(talk.client, /^220 hello\r\n227 Entering/);
  });
});

/** One of many, as a number says. */
function cut(text: string, at: readonly number[]): Buffer[] {
  const bytes = Buffer.from(text, "latin1");
  const addresses = [...at.map((one) => one % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  return addresses.map((end, index) => bytes.subarray(addresses[index - 1] ?? 0, end));
}

suite("whatever is said, in whatever pieces", () => {
  const lines = (...known: readonly string[]): fc.Arbitrary<string> => {
    const noise = fc.string({ unit: fc.constantFrom(..."\0\r\n\xff\xf4 APORTSVEL,|123()x-"), maxLength: 30 });
    const line = fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...known) }, { weight: 1, arbitrary: noise });
    return fc.array(line, { maxLength: 15 }).map((all) => all.join(""));
  };
  const cuts = fc.array(fc.nat(10_000), { maxLength: 6 });

  test("what is nobody's address comes through identical and in order", async () => {
    const harmless = fc.string({ unit: fc.constantFrom(..."\0\r\n\xff\xf4 abcdef0123456789,|()-"), maxLength: 200 });
    await fc.assert(
      fc.asyncProperty(harmless, harmless, cuts, async (asked, answered, at) => {
        using talk = await greeted();
        talk.client = "";
        for (const chunk of cut(asked, at)) await talk.asks(chunk);
        for (const chunk of cut(answered.replaceAll(/22[79]/g, "200"), at)) await talk.answers(chunk);
        talk.end();
        assert.equal(talk.server, asked);
        assert.equal(talk.client, answered.replaceAll(/22[79]/g, "200"));
      }),
      { numRuns },
    );
  });

  test("no address but the client's leads anywhere, and how it was cut does not matter", async () => {
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
      fc.asyncProperty(commands, replies, cuts, async (asked, answered, at) => {
        const hear = async (pieces: readonly number[]): Promise<Talk> => {
          const talk = await greeted();
          for (const chunk of cut(asked, pieces)) await talk.asks(chunk);
          for (const chunk of cut(answered, pieces)) await talk.answers(chunk);
          talk.end();
          talk[Symbol.dispose]();
          return talk;
        };
        const [whole, cutUp] = [await hear([]), await hear(at)];
        assert.deepEqual([cutUp.server, cutUp.client, cutUp.events], [whole.server, whole.client, whole.events]);
        for (const [, argument] of whole.server.matchAll(/^\s*(?:PORT|EPRT) +(\S+)/gim)) {
          assert.match(argument ?? "", /^(10,0,0,1,7,232|\|1\|10\.0\.0\.1\|2024\|)$/);
        }
      }),
      { numRuns },
    );
  });
});
