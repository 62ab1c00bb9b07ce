import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { parseNetwork } from "../../../src/config/values/networks.ts";
import { type Ip, readIp } from "../../../src/net/ip.ts";
import { BanList } from "../../../src/proxy/admission/ban-list.ts";
import { DataPortAdmission, type DataPortAdmissionOptions } from "../../../src/proxy/admission/data-port-admission.ts";
import { DeniedError } from "../../../src/proxy/admission/denial.ts";
import { MonitorError } from "../../../src/proxy/admission/monitors.ts";
import { Slots } from "../../../src/proxy/admission/slots.ts";
import { DataPorts } from "../../../src/proxy/data-ports.ts";

const alice = readIp("10.0.0.1")!;
const bob = readIp("10.0.0.2")!;

function stage(rest: Partial<DataPortAdmissionOptions> = {}): {
  readonly admission: DataPortAdmission;
  readonly slots: Slots;
} {
  const dataPorts = new DataPorts();
  const hold = { signal: new AbortController().signal, [Symbol.dispose]: () => {} };
  dataPorts.join({
    ips: [alice],
    listenAddress: "127.0.0.1",
    upstreamAddress: "172.17.0.2",
    localAddress: "172.17.0.1",
    lease: hold,
  });
  const slots = new Slots({ limit: 1, what: "connections in total", reason: "process_limit" });
  const counted = { service: "ftp", ipv6Prefix: 64, bans: new BanList(), slots };
  const options = { access: { deny: [] }, monitors: [], dataPorts, unixTime: () => 0, ...counted, ...rest };
  return { admission: new DataPortAdmission(options), slots: options.slots };
}

async function reasonOf(admission: DataPortAdmission, ip: Ip | undefined): Promise<string> {
  const error = await admission.admit(ip).then(
    () => assert.fail("it was let in"),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof DeniedError);
  return error.reason;
}

suite("DataPortAdmission", () => {
  test("admits clients with a control connection, with a slot of the process", async () => {
    const { admission, slots } = stage();
    const pass = await admission.admit(alice);
    assert.equal(slots.taken, 1);
    assert.equal(await reasonOf(admission, alice), "process_limit");
    pass[Symbol.dispose]();
    assert.equal(slots.taken, 0);
  });

  test("denies all other clients, without a slot", async () => {
    const { admission, slots } = stage();
    assert.equal(await reasonOf(admission, bob), "no_control");
    assert.equal(await reasonOf(admission, undefined), "no_control");
    assert.equal(slots.taken, 0);
  });

  test("rejects monitors, also with a control connection", async () => {
    await assert.rejects(stage({ monitors: [parseNetwork("10.0.0.0/31")] }).admission.admit(alice), MonitorError);
  });

  test("denies banned and denied sources, also with a control connection", async () => {
    assert.equal(await reasonOf(stage({ access: { deny: [parseNetwork("10.0.0.1")] } }).admission, alice), "address");
    assert.equal(await reasonOf(stage({ access: { deny: [], allow: [] } }).admission, alice), "address");
    const bans = new BanList();
    bans.add(alice, { service: "trap", ipv6Prefix: 64, until: 1 }, 0);
    assert.equal(await reasonOf(stage({ bans }).admission, alice), "banned");
  });
});
