import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { ftpSettings } from "../../../src/cli/check/ftp-settings.ts";
import { rewritesDataAddresses, type Service } from "../../../src/config/config.ts";
import { parseConfig } from "../../../src/config/parse.ts";

const context = { env: {}, adminListen: { host: "127.0.0.1", port: 9464 } };

function service(ports: string): Service {
  const text = `services: { ftp: { ports: ${ports}, data: 30000-30009, container: c } }`;
  return parseConfig(Buffer.from(text), "w.yaml", context).services[0]!;
}

const addressOf = (ports: string): string | undefined =>
  /pasv_address=(\S+)/.exec(ftpSettings([service(ports)]).join())?.[1];

suite("ftpSettings()", () => {
  test("have the address of the listener if it is known", () => {
    assert.equal(addressOf('"192.0.2.1:2121:21"'), "192.0.2.1,");
    assert.equal(addressOf('["192.0.2.1:2121:21", "[fd00::1]:2121:21", "192.0.2.1:2122:22"]'), "192.0.2.1,");
    for (const several of [
      '"2121:21"',
      '"0.0.0.0:21"',
      '["192.0.2.1:21", "0.0.0.0:22"]',
      '["192.0.2.1:21", "192.0.2.2:21"]',
    ]) {
      assert.equal(addressOf(several), "ADDRESS,", several);
    }
    assert.equal(addressOf('"[fd00::1]:2121:21"'), undefined);
    assert.equal(addressOf('"[::]:2121:21"'), undefined, "only IPv6");
  });

  test("apply only to TLS clients if wakeport announces the ports", () => {
    const [, plain] = ftpSettings([service("21")]);
    assert.equal(plain, "  ftp: 30000-30009");
    for (const protocol of rewritesDataAddresses) {
      const [, withProtocol] = ftpSettings([{ ...service("21"), protocol } as Service]);
      assert.equal(
        withProtocol,
        "  ftp: 30000-30009 (only for clients with TLS: wakeport announces ports to the others)",
      );
    }
  });

  test("include two addresses for a process that would listen on wakeport's ports", () => {
    const parsed = (listen: string): Service => {
      const text = `services: { ftp: { ports: "127.0.0.1:2121", protocol: ftp, data: "127.0.0.1:30000-30009", process: { command: [x], listen: "${listen}" } } }`;
      return parseConfig(Buffer.from(text), "w.yaml", context).services[0]!;
    };
    const last = (listen: string): string | undefined => ftpSettings([parsed(listen)]).at(-1);
    assert.match(
      last("127.0.0.1:2122") ?? "",
      /cannot listen on these ports.*listen: 127\.0\.0\.2:2122.*127\.0\.0\.1:30000-30009/,
    );
    assert.match(last("127.0.0.2:2122") ?? "", /pure-ftpd/);
  });

  test("are empty without data ports", () => {
    assert.deepEqual(
      ftpSettings([
        { ...service("21"), data: [] },
        { ...service("21"), enabled: false },
      ]),
      [],
    );
  });
});
