import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { type DenialReason, denialReasons } from "../../src/proxy/admission/denial.ts";
import type { ConnectionReport } from "../../src/proxy/reports.ts";
import { type Observer, observer } from "../../src/telemetry/observer.ts";
import { type XinetdRecord, type XinetdTarget, xinetdLines, xinetdObserver } from "../../src/telemetry/xinetd-log.ts";

const AT = new Date(2026, 10, 22, 7, 5, 9);

const connection: ConnectionReport = {
  service: "ftp",
  id: 7,
  client: "127.0.0.1:5000",
  listener: "*:21",
  outcome: "served",
  start: "warm",
  waitMs: 100,
  durationMs: 2_100,
  bytesIn: 0,
  bytesOut: 0,
};
const { waitMs: _waitMs, ...unserved } = connection;

/** Returns the lines without their time, and the reports that were passed on to the other observer. */
function logged(report: (observer: Observer) => void, target: XinetdTarget = { kind: "inetd" }): string[] {
  const lines: string[] = [];
  const other = observer({
    connection: ({ outcome }) => lines.push(`other: ${outcome}`),
    userId: ({ failure }) => lines.push(`other: ${failure}`),
    engineUp: (description) => lines.push(`other: ${description}`),
  });
  const info = (fields: object, msg: string): void => {
    const record: XinetdRecord = { level: "info", ...fields, msg };
    lines.push(...xinetdLines(record, 7, AT));
  };
  report(xinetdObserver({ info }, () => target, other));
  return lines.map((line) => line.replace("26/11/22@07:05:09: ", ""));
}

const closed = (report: Partial<ConnectionReport>, target?: XinetdTarget): string[] =>
  logged((log) => log.connection({ ...connection, ...report }), target);

suite("xinetdObserver()", () => {
  test("logs the pid and the exit of a process", () => {
    assert.deepEqual(
      logged((log) => log.connectionOpened({ ...connection, pid: 28673 })),
      ["START: ftp pid=28673 from=127.0.0.1"],
    );
    assert.deepEqual(closed({ pid: 28673, exit: { code: 2 } }), ["EXIT: ftp status=2 pid=28673 duration=2(sec)"]);
    assert.deepEqual(closed({ pid: 7929, exit: { signal: "SIGKILL" } }), [
      "EXIT: ftp signal=9 pid=7929 duration=2(sec)",
    ]);
  });

  test("logs the bytes of a relay", () => {
    for (const kind of ["container", "process", "forward"]) {
      assert.deepEqual(closed({ outcome: "relayed", bytesIn: 5, bytesOut: 9 }, { kind }), [
        "TRAFFIC: ftp in=5(bytes) out=9(bytes)",
        "EXIT: ftp status=0 pid=0 duration=2(sec)",
      ]);
    }
  });

  test("logs the end of the builtins that xinetd serves with a process", () => {
    const lines = ["echo", "discard", "chargen", "daytime", "time"].map((builtin) =>
      closed({}, { kind: "builtin", builtin }).join(),
    );
    const exit = "EXIT: ftp status=0 pid=0 duration=2(sec)";
    assert.deepEqual(lines, [exit, exit, exit, "", ""]);
  });

  test("logs a client of a sensor as denied", () => {
    const lines = logged(
      (log) => {
        log.connectionOpened(connection);
        log.connection(connection);
      },
      { kind: "sensor" },
    );
    assert.deepEqual(lines, ["FAIL: ftp address from=127.0.0.1"]);
  });

  test("logs a denial with xinetd's reason", () => {
    const reasons: Readonly<Record<DenialReason, string>> = {
      address: "address",
      banned: "address",
      time: "time",
      rate: "connections per second",
      load: "load",
      per_source_limit: "per_source_limit",
      service_limit: "service_limit",
      waiting_limit: "service_limit",
      process_limit: "process_limit",
      no_control: "no_control",
    };
    for (const reason of denialReasons) {
      const lines = logged((log) => log.connection({ ...unserved, outcome: "denied_limit", reason }));
      assert.deepEqual(lines, [`FAIL: ftp ${reasons[reason]} from=127.0.0.1`]);
    }
  });

  test("passes on results that xinetd does not have", () => {
    const lines = logged((log) => {
      log.connection({ ...unserved, outcome: "start_failed" });
      log.connection({ ...unserved, outcome: "client_gone" });
      log.connection({ ...unserved, outcome: "served", end: "probe" });
    });
    const others = ["other: start_failed", "other: client_gone", "other: served"];
    assert.deepEqual(lines, ["FAIL: ftp fork from=127.0.0.1", ...others]);
  });

  test("logs addresses without their port", () => {
    const shown = ["[fe80::1]:7", "192.0.2.1:70", "unknown:0"].map((client) =>
      logged((log) => log.connectionOpened({ ...connection, client })).join(),
    );
    assert.deepEqual(
      shown.map((line) => line.replace(/.*from=/, "")),
      ["fe80::1", "192.0.2.1", "<no address>"],
    );
  });

  test("logs the identity of a client, and passes on failed requests for it", () => {
    const lines = logged((log) => {
      log.userId({ ...connection, answer: "UNIX : alice" });
      log.userId({ ...connection, failure: "ECONNREFUSED" });
      log.engineUp("docker");
    });
    assert.deepEqual(lines, ["USERID: ftp UNIX : alice", "other: ECONNREFUSED", "other: docker"]);
  });

  test("fail2ban's filter matches the denials", () => {
    // This is the expanded form of the filter.
    const filter = /FAIL: \S+ (?:address|libwrap) from=(?:::f{4,6}:)?(?<host>\S+)$/;
    const [line = ""] = logged((log) => log.connection({ ...unserved, outcome: "denied_limit", reason: "banned" }));
    assert.equal(filter.exec(line)?.groups?.["host"], "127.0.0.1");
  });
});

suite("xinetdLines()", () => {
  test("begins a line of xinetdObserver() with the local time", () => {
    assert.deepEqual(xinetdLines({ event: "xinetd", level: "info", msg: "START: ftp" }, 7, AT), [
      "26/11/22@07:05:09: START: ftp",
    ]);
    const march = new Date(2009, 2, 1, 7, 5, 9);
    assert.deepEqual(xinetdLines({ event: "xinetd", level: "info", msg: "START: ftp" }, 7, march), [
      "09/3/1@07:05:09: START: ftp",
    ]);
  });

  test("formats each line of a message as xinetd does and escapes control characters", () => {
    assert.deepEqual(xinetdLines({ event: "x", level: "error", msg: "a\n b\u001b[31m\u0085" }, 7, AT), [
      "26/11/22@07:05:09 wakeport[7]: ERROR: a",
      "26/11/22@07:05:09 wakeport[7]: ERROR:  b\\x1b[31m\\x85",
    ]);
  });
});
