/** Addresses and ports in FTP commands and replies. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { formatIp, readIp } from "../../../../src/net/ip.ts";
import {
  type FtpAddress,
  findEpsv,
  findPasv,
  readEprt,
  readPort,
  writeEprt,
  writePort,
} from "../../../../src/proxy/protocols/ftp/endpoints.ts";
import { numRuns } from "../../../support/proxy/fuzz.ts";

function format(endpoint: FtpAddress | undefined): string | undefined {
  return endpoint && `${formatIp(endpoint.ip)} ${endpoint.port}`;
}

suite("PORT and EPRT", () => {
  test("are parsed", () => {
    assert.equal(format(readPort("10,1,2,3,24,131")), "10.1.2.3 6275");
    assert.equal(format(readPort(" 10,1,2,3,0,21 ")), "10.1.2.3 21");
    assert.equal(format(readEprt("|1|132.235.1.2|6275|")), "132.235.1.2 6275");
    assert.equal(format(readEprt("|2|1080::8:800:200c:417a|5282|")), "1080::8:800:200c:417a 5282");
    assert.equal(format(readEprt("!2!::ffff:10.1.2.3!5282!")), "10.1.2.3 5282");
  });

  for (const text of [
    "",
    "1,2,3,4,5",
    "1,2,3,4,5,6,7",
    "256,1,1,1,1,1",
    "1,2,3,4,5,256",
    "1,2,3,4,5,-6",
    "a,b,c,d,e,f",
    "1;2;3;4;5;6",
  ]) {
    test(`PORT ${text} is malformed`, () => assert.equal(readPort(text), undefined));
  }
  for (const text of [
    "",
    "|1|1.2.3.4|",
    "|3|1.2.3.4|5|",
    "|1|::1|5|",
    "|2|1.2.3.4|5|",
    "|1|1.2.3|5|",
    "|1|1.2.3.4|65536|",
    "|1|1.2.3.4|5",
    "|1|1.2.3.4!5|",
  ]) {
    test(`EPRT ${text} is malformed`, () => assert.equal(readEprt(text), undefined));
  }

  test("are formatted so that they can be parsed", () => {
    const port = fc.integer({ min: 0, max: 65_535 });
    const address = fc.oneof(
      fc.ipV4(),
      fc.ipV6().filter((text) => !text.includes(".")),
    );
    fc.assert(
      fc.property(address, port, (text, number) => {
        const ip = readIp(text);
        assert.ok(ip);
        const endpoint = { ip, port: number };
        assert.equal(format(readEprt(writeEprt(endpoint))), format(endpoint));
        if (ip.family === "ipv4") assert.equal(format(readPort(writePort(endpoint))), format(endpoint));
      }),
      { numRuns },
    );
  });
});

suite("227 and 229", () => {
  const pasv = [
    "227 Entering Passive Mode (10,1,2,3,24,131).",
    "227 Entering Passive Mode (10,1,2,3,24,131)",
    "227 Entering Passive Mode. 10,1,2,3,24,131",
    "227 Entering Passive Mode 10,1,2,3,24,131",
    "227 =10,1,2,3,24,131",
    "227 Mode passif (10, 1, 2, 3, 24, 131) \xe0 vous",
    "227 Passive mode, 5 minutes (10,1,2,3,24,131)",
    "227 10,1,2,3,24,131",
  ];
  for (const text of pasv) {
    test(text, () => {
      const found = findPasv(`${text}\r\n`);
      assert.equal(found?.port, 6275);
      assert.equal(`${found?.before}#${found?.after}`, `${text}\r\n`.replace(/10, ?1.*131/, "#"));
    });
  }
  for (const text of ["227 ok", "227 (1,2,3,4,5)", "227 (1,2,3,4,5,256)", "227 (1,2,3,4,5,1000)", "227,1,2,3,4,5"]) {
    test(`${text} contains no address`, () => assert.equal(findPasv(text), undefined));
  }

  for (const text of [
    "229 Entering Extended Passive Mode (|||6275|)",
    "229 ok (!!!6275!).",
    "229 (|1|10.1.2.3|6275|)",
    "229 a (b) (|||6275|)",
  ]) {
    test(text, () => {
      const found = findEpsv(`${text}\r\n`);
      assert.equal(found?.port, 6275);
      assert.equal(`${found?.before}#${found?.after}`, `${text}\r\n`.replace("6275", "#"));
    });
  }
  for (const text of [
    "229 ok",
    "229 (|||0|)",
    "229 (|||65536|)",
    "229 (|||x|)",
    "229 (||6275|)",
    "229 (||!6275|)",
    "229 |||6275|",
  ]) {
    test(`${text} contains no address`, () => assert.equal(findEpsv(text), undefined));
  }

  test("findPasv() and findEpsv() find only valid ports, and keep the other text", () => {
    const text = fc.string({ unit: fc.constantFrom(..."0123456789,|()! ab:.\0\xff"), maxLength: 60 });
    fc.assert(
      fc.property(text, (rest) => {
        for (const find of [findPasv, findEpsv]) {
          const found = find(`227 ${rest}`);
          if (found === undefined) continue;
          assert.ok(found.port >= 0 && found.port <= 65_535);
          assert.ok(`227 ${rest}`.startsWith(found.before) && rest.endsWith(found.after));
        }
        for (const read of [readPort, readEprt]) assert.ok((read(rest)?.port ?? 0) <= 65_535);
      }),
      { numRuns },
    );
  });
});
