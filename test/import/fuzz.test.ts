/** Imports of arbitrary files end quickly and produce valid YAML. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { parseConfig } from "../../src/config/parse.ts";
import { attributeNames } from "../../src/import/xinetd-attributes.ts";
import { importInetd, importXinetd } from "../support/import/imported.ts";
import { numRuns } from "../support/proxy/fuzz.ts";

const word = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.constantFrom(
      "yes",
      "no",
      "root",
      "stream",
      "tcp",
      "dgram",
      "INTERNAL",
      "UNLISTED",
      "SENSOR",
      "/usr/bin/x",
    ),
  },
  {
    weight: 6,
    arbitrary: fc.constantFrom(
      "10.0.0.0",
      "1.2.{3,4}",
      "::1/64",
      "a=b",
      "null=1",
      "<<=$x",
      "1=~",
      "=x",
      "UNLIMITED",
      "8:00-24:00",
      "ftp",
      "echo",
      "$x",
      "${x",
    ),
  },
  { weight: 1, arbitrary: fc.nat({ max: 70_000 }).map(String) },
  { weight: 1, arbitrary: fc.string({ maxLength: 12, unit: "binary" }) },
);
const attribute = fc
  .tuple(
    fc.oneof({ weight: 40, arbitrary: fc.constantFrom(...attributeNames) }, word),
    fc.oneof({ weight: 40, arbitrary: fc.constantFrom(" =", " =", " +=", " -=") }, fc.constantFrom("=", "", " ~")),
    fc.array(word, { maxLength: 4 }),
  )
  .map(([name, operator, values]) => `\t${name}${operator} ${values.join(" ")}`);
const entry = fc
  .tuple(
    fc.constantFrom(
      "service echo",
      "service echo",
      "service ftp",
      "service ftp",
      "defaults",
      "defaults",
      "service x",
      "include x",
      "includedir d",
      "servce",
      "service",
    ),
    fc.array(attribute, { maxLength: 8 }),
    fc.constantFrom(...Array<string>(20).fill("}"), "", "} x"),
  )
  .map(([head, lines, end]) =>
    head.startsWith("inc")
      ? head
      : `${head}\n{\n socket_type = stream\n wait = no\n user = root\n server = /usr/bin/x\n${lines.join("\n")}\n${end}`,
  );
const xinetdFile = fc.array(entry, { maxLength: 4 }).map((entries) => entries.join("\n"));

const inetdFile = fc
  .array(
    fc
      .tuple(
        fc.constantFrom("ftp", "127.0.0.1:echo", "*:", "[::1],10.0.0.1:2121", ":", "#x", " y", "a:b:c"),
        fc.constantFrom("stream", "stream", "stream", "dgram", "raw"),
        fc.constantFrom("tcp", "tcp", "tcp4", "tcp6", "tcp,sndbuf=1", "udp", "unix", "rpc/tcp", ""),
        fc.constantFrom("nowait", "wait", "nowait.5", "nowait/1/2/3", "nowait/", "nowait."),
        fc.constantFrom("root", "a.b", "a:b/c", ".", "1000"),
        fc.array(word, { maxLength: 4 }),
      )
      .map(([listenPort, type, protocol, wait, user, words]) =>
        [listenPort, type, protocol, wait, user, ...words].join(" "),
      ),
    { maxLength: 6 },
  )
  .map((lines) => lines.join("\n"));

/** Checks that the import is a valid configuration. @throws ConfigError */
function checked(yaml: string): void {
  // This port differs from the port of every service.
  const adminListen = { host: "127.0.0.1", port: Number.MAX_SAFE_INTEGER };
  parseConfig(Buffer.from(yaml), "wakeport.yaml", { env: {}, adminListen });
}

suite("imports of arbitrary files", () => {
  const importers = {
    xinetd: { near: xinetdFile, run: (text: string | Uint8Array) => importXinetd({ x: text, "d/y": text }) },
    inetd: { near: inetdFile, run: importInetd },
  };
  for (const [name, { near, run }] of Object.entries(importers)) {
    test(`${name}: random bytes`, () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void run(bytes)),
        { numRuns },
      );
    });

    test(`${name}: nearly valid files`, () => {
      let made = 0;
      fc.assert(
        fc.property(near, (text) => {
          const { services, yaml } = run(text);
          made += Object.keys(services).length;
          if (Object.keys(services).length > 0) checked(yaml);
        }),
        { numRuns },
      );
      assert.ok(made > numRuns / 10, `only ${made} services`);
    });

    test(`${name}: large files are read quickly`, () => {
      const parts = ["a", "=", "{", "}", " ", "\n", "service x\n{\n", "1.{1,", "only_from += 1\n", "\t", ":", ",", "#"];
      const began = performance.now();
      for (const part of parts) {
        try {
          run(part.repeat(Math.floor(100_000 / part.length)));
          run(`service echo\n{\nonly_from = ${part.replaceAll("\n", " ").repeat(50_000)}\n}\n`);
        } catch (error) {
          assert.equal(error instanceof Error && error.name, "ImportError", String(error));
        }
      }
      assert.ok(performance.now() - began < 30_000, `took ${performance.now() - began} ms`);
    });
  }
});
