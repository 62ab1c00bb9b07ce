import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { redis } from "../../../src/proxy/protocols/redis.ts";
import { type RedisCommand, RedisCommandReader } from "../../../src/proxy/protocols/redis-command.ts";
import { answerable } from "../../../src/proxy/protocols/redis-loading.ts";
import { randomRuns } from "../../support/activation/random.ts";
import { checkLeaks } from "../../support/leaks.ts";
import { eventually, PeerServer } from "../../support/net/tcp.ts";
import { TestListener } from "../../support/proxy/listener.ts";

checkLeaks();

const LOADING = "-LOADING web is starting, try again later\r\n";

/** A command as an array of bulk strings; each character is a byte. */
function array(...words: string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join("")}`;
}

function reading(text: string): RedisCommand | "unknown" | undefined {
  return new RedisCommandReader().read(Buffer.from(text, "latin1"));
}

const bytes = fc.uint8Array({ maxLength: 12 }).map((word) => Buffer.from(word).toString("latin1"));
const word = fc.stringMatching(/^[a-zA-Z0-9]{1,8}$/);
const commands: fc.Arbitrary<{ readonly text: string; readonly name: string }> = fc.oneof(
  fc.array(bytes, { minLength: 1, maxLength: 4 }).map((words) => ({ text: array(...words), name: words[0] ?? "" })),
  fc.tuple(word, fc.array(word), fc.constantFrom("\r\n", "\n")).map(([name, words, end]) => ({
    text: [name, ...words].join(" ") + end,
    name,
  })),
);

suite("RedisCommandReader.read()", () => {
  const cases: Readonly<Record<string, string>> = {
    "*1\r\n$4\r\nPING\r\n": "PING",
    "*2\r\n$3\r\nget\r\n$0\r\n\r\n": "GET",
    "*2\r\n$4\r\necho\r\n$4\r\n\r\n*1\r\n": "ECHO",
    "*0\r\n": "",
    "*-1\r\n": "",
    "PING\r\n": "PING",
    "ping\n": "PING",
    "  set a 'b c'\r\n": "SET",
    "\r\n": "",
    " \n": "",
  };
  for (const [text, name] of Object.entries(cases)) {
    test(`${JSON.stringify(text)} is ${name === "" ? "nothing" : name}, and nothing less is`, () => {
      assert.deepEqual(reading(text), { length: text.length, name });
      assert.deepEqual(reading(`${text}*1\r\n`), { length: text.length, name });
      for (let length = 0; length < text.length; length += 1) assert.equal(reading(text.slice(0, length)), undefined);
    });
  }

  const unknown = [
    "*1\r\n:4\r\n",
    "*1\r\n$-1\r\n",
    "*01\r\n",
    "*+1\r\n",
    "* 1\r\n",
    "*\r\n",
    "*1\rx",
    "*999999999999",
    "*1\r\n$4x\r\n",
    "*1\r\n$999999999999",
    '"PING"\r\n',
    "\x16\x03\x01",
    "p\xffng\r\n",
  ];
  for (const text of unknown) {
    test(`${JSON.stringify(text)} is left to Redis`, () => assert.equal(reading(text), "unknown"));
  }

  test("finds each command that was sent, and nothing before it is complete", (t) => {
    fc.assert(
      fc.property(fc.array(commands, { minLength: 1, maxLength: 5 }), fc.nat(), (sent, cut) => {
        const text = sent.map((command) => command.text).join("");
        let at = 0;
        for (const command of sent) {
          assert.equal(reading(text.slice(at, at + (cut % command.text.length))), undefined);
          assert.deepEqual(reading(text.slice(at)), { length: command.text.length, name: command.name.toUpperCase() });
          at += command.text.length;
        }
      }),
      randomRuns(t, 2_000),
    );
  });

  test("says something of whatever comes, and never of more than came", (t) => {
    const part = fc.constantFrom(
      "*",
      "$",
      "0",
      "1",
      "-",
      "9",
      "\r\n",
      "\r",
      "\n",
      "AUTH",
      "get",
      "'",
      " ",
      "\x16",
      "\xff",
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(part, bytes), { maxLength: 30 }), (parts) => {
        const sent = Buffer.from(parts.join(""), "latin1");
        const found = new RedisCommandReader().read(sent);
        if (typeof found === "object") assert.ok(found.length > 0 && found.length <= sent.length);
        const { length, answers, isOver } = answerable(sent);
        assert.ok(length <= sent.length && answers <= length);
        // What is left is what is answered to somebody who sends it later.
        const rest = answerable(sent.subarray(length));
        assert.deepEqual(rest, { length: 0, answers: 0, isOver });
      }),
      randomRuns(t, 2_000),
    );
  });

  test("looks at each string of an array a few times at most, in however many pieces it arrives", (t) => {
    const command = Buffer.from(array(...new Array<string>(500).fill("a")), "latin1");
    const texts = t.mock.method(Buffer.prototype, "toString").mock;
    const reader = new RedisCommandReader();
    for (let length = 1; length < command.length; length += 1) {
      assert.equal(reader.read(command.subarray(0, length)), undefined);
    }
    assert.deepEqual(reader.read(command), { length: command.length, name: "A" });
    // Of its seven bytes, at most four come behind its length and before its end.
    assert.ok(texts.callCount() <= 5 * 500 + 10, `${texts.callCount()} numbers were read`);
  });
});

suite("redis, while it loads", () => {
  test("every complete command is answered at once, in order, and the rest goes to the target whole", async () => {
    await using server = await PeerServer.open();
    await using listenPort = await TestListener.open({ upstream: server.port, protocol: redis({ kind: "loading" }) });
    using client = await listenPort.client();
    await listenPort.starting();
    client.send(`${array("PING")}${array("SET", "a", "AUTH\r\n")}GET a\r\n`);
    await client.receives(3 * LOADING.length);
    client.send("\r\n*2\r\n$3\r\nGET");
    client.send("\r\n$1");
    await eventually("it has arrived", () => listenPort.accepted[0]?.bytesRead === client.socket.bytesWritten);
    assert.equal(client.text, LOADING.repeat(3));
    listenPort.target.finishStart();
    const upstream = await server.accepted();
    client.send("\r\nb\r\n");
    await upstream.receives(array("GET", "b").length);
    assert.equal(upstream.text, array("GET", "b"));
    upstream.send("$-1\r\n");
    upstream.end();
    assert.equal(await client.addresses(), "ended");
    assert.equal(client.text, `${LOADING.repeat(3)}$-1\r\n`);
    client.end();
    assert.equal((await listenPort.reported(1))[0]?.outcome, "relayed");
  });

  for (const held of ["AUTH", "hello", "SELECT", "CLIENT", "SUBSCRIBE", "MULTI", "QUIT", "post", "Host:"]) {
    test(`what sets how the connection goes on waits, and all behind it: ${held}`, async () => {
      await using server = await PeerServer.open();
      await using listenPort = await TestListener.open({ upstream: server.port, protocol: redis({ kind: "loading" }) });
      using client = await listenPort.client();
      await listenPort.starting();
      const behind = `${array(held, "x")}${array("PING")}`;
      client.send(array("PING") + behind);
      await client.receives(LOADING.length);
      client.send(array("GET", "a"));
      await eventually("it has arrived", () => listenPort.accepted[0]?.bytesRead === client.socket.bytesWritten);
      listenPort.target.finishStart();
      const upstream = await server.accepted();
      await upstream.receives(behind.length + array("GET", "a").length);
      assert.equal(upstream.text, behind + array("GET", "a"));
      assert.equal(client.text, LOADING);
    });
  }

  test("a browser that somebody's page makes talk to Redis is Redis's to recognise", async () => {
    const rest = "Host: cache:6379\r\nContent-Length: 18\r\n\r\nSELECT 0\r\nFLUSHALL\r\n";
    for (const [request, answered] of [
      [`POST / HTTP/1.1\r\n${rest}`, 0],
      [`PUT / HTTP/1.1\r\n${rest}`, 1],
    ] as const) {
      await using server = await PeerServer.open();
      await using listenPort = await TestListener.open({ upstream: server.port, protocol: redis({ kind: "loading" }) });
      using client = await listenPort.client();
      await listenPort.starting();
      client.send(request);
      await eventually("it has arrived", () => listenPort.accepted[0]?.bytesRead === request.length);
      listenPort.target.finishStart();
      const upstream = await server.accepted();
      const left = answered === 0 ? request : rest;
      await upstream.receives(left.length);
      assert.equal(upstream.text, left);
      assert.equal(client.text, LOADING.repeat(answered));
    }
  });

  test("what is too long to be looked at, or no command, waits", async () => {
    const long = `*2\r\n$3\r\nGET\r\n$100000\r\n${"x".repeat(99_000)}`;
    for (const text of [long, '"PING"\r\nPING\r\n']) {
      await using server = await PeerServer.open();
      await using listenPort = await TestListener.open({ upstream: server.port, protocol: redis({ kind: "loading" }) });
      using client = await listenPort.client();
      client.send(text);
      await listenPort.starting();
      await eventually("it is looked at", () => listenPort.accepted[0]?.readableLength !== 0);
      listenPort.target.finishStart();
      const upstream = await server.accepted();
      await upstream.receives(text.length);
      assert.equal(upstream.text, text);
      assert.equal(client.received, 0);
    }
  });

  test("one that is ready is not loading", async () => {
    await using server = await PeerServer.open();
    await using listenPort = await TestListener.open({ upstream: server.port, protocol: redis({ kind: "loading" }) });
    using first = await listenPort.client();
    await listenPort.start();
    await server.accepted();
    using second = await listenPort.client();
    second.send(array("PING"));
    const upstream = await server.accepted();
    await upstream.receives(array("PING").length);
    assert.deepEqual([first.received, second.received], [0, 0]);
  });

  test("one that is up but not yet reached is loading no longer, and who says nothing more is served", async () => {
    await using server = await PeerServer.open();
    await using listenPort = await TestListener.open({
      upstream: server.port,
      pace: 1,
      protocol: redis({ kind: "loading" }),
    });
    const place = await listenPort.pace.enter(new AbortController().signal);
    using client = await listenPort.client();
    using silent = await listenPort.client();
    await listenPort.start();
    await listenPort.becomes("ready");
    client.send(array("PING"));
    await eventually("it has come, and waits", () => listenPort.accepted[0]?.readableLength === array("PING").length);
    assert.equal(client.received, 0);
    place[Symbol.dispose]();
    const [first, second] = [await server.accepted(), await server.accepted()];
    first.send("+PONG\r\n");
    second.send("+PONG\r\n");
    await client.receives(7);
    await silent.receives(7);
    assert.deepEqual([client.text, silent.text], ["+PONG\r\n", "+PONG\r\n"]);
  });

  test("one that asks without reading is asked to stop", async () => {
    await using listenPort = await TestListener.open({ upstream: 1, protocol: redis({ kind: "loading" }) });
    using client = await listenPort.client();
    client.pause();
    await listenPort.starting();
    client.flood(Buffer.from("a\n".repeat(32 * 1024)));
    const [socket] = listenPort.accepted;
    let before = -1;
    await eventually("it stands still", async () => {
      const stands = socket!.bytesRead > 0 && socket!.bytesRead === before;
      before = socket!.bytesRead;
      await new Promise((resolve) => setTimeout(resolve, 50));
      return stands;
    });
    assert.ok(socket!.writableLength < 80 * 1024, `${socket!.writableLength} bytes of answers wait`);
    assert.ok(socket!.readableLength <= 128 * 1024);
  });

  for (const [name, commands] of Object.entries({
    "after an answer": array("PING"),
    "in the middle of a command": "*1\r\n$4\r\nPI",
    "behind one that waits": `${array("PING")}${array("AUTH", "x")}${array("PING")}`,
  })) {
    test(`one that leaves is forgotten: ${name}`, async () => {
      await using listenPort = await TestListener.open({ upstream: 1, protocol: redis({ kind: "loading" }) });
      using client = await listenPort.client();
      await listenPort.starting();
      client.send(commands);
      await eventually("it has arrived", () => listenPort.accepted[0]?.bytesRead === commands.length);
      if (commands.includes("PING")) await client.receives(LOADING.length);
      client.reset();
      assert.equal((await listenPort.reported(1))[0]?.outcome, "client_gone");
    });
  }

  test("each command is either answered or the target's, however the stream is cut, whenever that is ready", async (t) => {
    const stream = fc.array(
      fc.oneof(commands, fc.constantFrom({ text: array("AUTH", "x") }, { text: "SELECT 3\r\n" })),
    );
    const cuts = fc.array(fc.nat({ max: 120 }), { maxLength: 6 });
    const property = fc.asyncProperty(stream, cuts, fc.nat({ max: 6 }), async (sent, at, readyAfter) => {
      const text = sent.map((command) => command.text).join("");
      const bytes = Buffer.from(text, "latin1");
      await using server = await PeerServer.open();
      await using listenPort = await TestListener.open({ upstream: server.port, protocol: redis({ kind: "loading" }) });
      using client = await listenPort.client();
      await listenPort.starting();
      const addresses = [...at.filter((cut) => cut < bytes.length).toSorted((a, b) => a - b), bytes.length];
      let from = 0;
      for (const [index, end] of addresses.entries()) {
        if (index === readyAfter) listenPort.target.finishStart();
        client.send(bytes.subarray(from, end));
        from = end;
        await new Promise((turn) => setImmediate(turn));
      }
      if (readyAfter >= addresses.length) listenPort.target.finishStart();
      client.end();
      const upstream = await server.accepted();
      assert.equal(await upstream.addresses(), "ended");
      upstream.end();
      assert.equal(await client.addresses(), "ended");
      const answered = bytes.subarray(0, bytes.length - upstream.received);
      assert.ok(upstream.data.equals(bytes.subarray(answered.length)), "the target got the rest, and nothing else");
      const { length, answers } = answerable(answered);
      assert.equal(length, answered.length, "what is answered are whole commands");
      assert.equal(client.text, LOADING.repeat(answers));
    });
    const { numRuns, seed } = randomRuns(t, 50);
    // Each has sockets, which the system takes back only after a minute.
    await fc.assert(property, { seed, numRuns: Math.min(numRuns, 500) });
  });
});
