import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import net from "node:net";
import { suite, test } from "node:test";
import fc from "fast-check";
import { portNames } from "../../../src/config/values/etc-services.ts";
import { clash, MAX_PORTS, parseHostPort, parsePort } from "../../../src/config/values/ports.ts";
import { UnitError } from "../../../src/config/values/units.ts";

/** As in /etc/services. */
const servicesFile = `
# Network services
tcpmux\t1/tcp\t\t\t# multiplexer
ftp-data\t20/tcp
ftp\t\t21/tcp
fsp\t\t21/udp\t\tfspd
domain\t\t53/tcp
domain\t\t53/udp
http\t\t80/tcp\t\twww\t# WorldWideWeb HTTP
www 81/tcp
broken
broken 1000000/tcp
sctp 9/sctp
`;
const names = portNames(() => servicesFile);

suite("parsePort()", () => {
  const good = {
    "2121": { listen: 2121 },
    "2121:21": { listen: 2121, target: 21 },
    "2121:21/tcp": { listen: 2121, target: 21 },
    "127.0.0.1:2121": { listen: 2121, address: "127.0.0.1" },
    "127.0.0.1:2121:21": { listen: 2121, target: 21, address: "127.0.0.1" },
    "[::1]:2121:21": { listen: 2121, target: 21, address: "::1" },
  };
  for (const [text, expected] of Object.entries(good)) {
    test(`parses "${text}"`, () => assert.deepEqual(parsePort(text), expected));
  }

  const named = {
    ftp: { listen: 21 },
    "2121:ftp": { listen: 2121, target: 21 },
    "127.0.0.1:ftp:ftp": { listen: 21, target: 21, address: "127.0.0.1" },
    "[::1]:ftp-data": { listen: 20, address: "::1" },
    "www/tcp": { listen: 80 },
    "domain/udp": { listen: 53, protocol: "udp" },
    "2121:fspd/udp": { listen: 2121, target: 21, protocol: "udp" },
  };
  for (const [text, expected] of Object.entries(named)) {
    test(`looks up the names of "${text}"`, () => assert.deepEqual(parsePort(text, names), expected));
  }

  const unknown: Readonly<Record<string, RegExp>> = {
    ftpp: /port "ftpp" for tcp is not in \/etc\/services: did you mean "ftp"\?/,
    elephant: /port "elephant" for tcp is not in \/etc\/services: write the number/,
    fspd: /"fspd" has no port for tcp in \/etc\/services, only 21\/udp/,
    broken: /port "broken" for tcp is not in/,
    FTP: /did you mean "ftp"\?/,
  };
  for (const [text, message] of Object.entries(unknown)) {
    test(`reports "${text}" as unknown`, () => assert.throws(() => parsePort(text, names), { message }));
  }

  test("finds another port of the same name for udp", () => {
    assert.equal(names("domain", "udp"), 53);
    assert.equal(names("fspd", "udp"), 21);
  });

  test("reads /etc/services once, at the first lookup", () => {
    let count = 0;
    const counted = portNames(() => {
      count += 1;
      return servicesFile;
    });
    parsePort("21:21", counted);
    assert.equal(count, 0);
    for (let i = 0; i < 3; i += 1) parsePort("ftp:www", counted);
    assert.equal(count, 1);
  });

  test("reports a missing /etc/services with a remedy", () => {
    const missing = portNames(() => readFileSync("/nowhere/services", "utf8"));
    const remedy = /the port "ftp" is a name, and .* is missing .*Debian package netbase.*or write the number/;
    assert.throws(() => parsePort("2121:ftp", missing), { name: "UnitError", message: remedy });
    const unreadable = portNames(() => readFileSync("/", "utf8"));
    assert.throws(() => parsePort("ftp", unreadable), { name: "UnitError", message: /cannot be read: .*EISDIR/ });
    assert.equal(parsePort("2121:21", missing).listen, 2121);
  });

  const bad = [
    "",
    ":",
    "0",
    "65536",
    "1:0",
    "a:b",
    "::1:2121:21",
    "localhost:2121:21",
    "1:2:3:4",
    "1-",
    "-5",
    "1-2-3",
    "0-5",
    "53/sctp",
    "1/tcp/x",
  ];
  for (const text of bad) {
    test(`rejects "${text}" with UnitError`, () => assert.throws(() => parsePort(text), UnitError));
  }

  test("rejects a very long entry fast", () => {
    const began = performance.now();
    for (const part of ["1.", "1:", ":", "[", "1", "1.1:"]) {
      assert.throws(() => parsePort(part.repeat(100_000)), UnitError);
    }
    assert.ok(performance.now() - began < 2_000);
  });

  test("throws UnitError only, for random text", () => {
    const text = fc.oneof(
      fc.string(),
      fc
        .array(
          fc.constantFrom("1", "21", "99999", ":", "[", "]", "/", "-", "tcp", "udp", ".", "ftp", "fpt", "::1", "é"),
        )
        .map((parts) => parts.join("")),
    );
    fc.assert(
      fc.property(text, (entry) => {
        try {
          const { listen: listenPort, target = listenPort, count = 1, address = "::" } = parsePort(entry, names);
          assert.ok(count >= 1 && count <= MAX_PORTS);
          assert.ok(listenPort >= 1 && target >= 1 && Math.max(listenPort, target) + count - 1 <= 65_535);
          assert.ok(net.isIP(address) !== 0);
        } catch (error) {
          assert.ok(error instanceof UnitError, String(error));
        }
      }),
      { numRuns: 10_000 },
    );
  });
});

suite("clash()", () => {
  test("a wildcard conflicts with each address of its family only", () => {
    assert.equal(clash({ listen: 1 }, { listen: 1, address: "127.0.0.1" }), true);
    assert.equal(clash({ listen: 1, address: "0.0.0.0" }, { listen: 1, address: "10.0.0.1" }), true);
    assert.equal(clash({ listen: 1, address: "0.0.0.0" }, { listen: 1, address: "::" }), false);
    assert.equal(clash({ listen: 1, address: "10.0.0.1" }, { listen: 1, address: "10.0.0.2" }), false);
    assert.equal(clash({ listen: 1 }, { listen: 2 }), false);
  });
});

suite("parseHostPort()", () => {
  test("parses names and addresses, and rejects text without a port", () => {
    assert.deepEqual(parseHostPort("localhost:80"), { host: "localhost", port: 80 });
    assert.deepEqual(parseHostPort("[::1]:80"), { host: "::1", port: 80 });
    for (const text of ["localhost", "80", ":80", "::1:80", "a b:80"])
      assert.throws(() => parseHostPort(text), UnitError);
  });
});
