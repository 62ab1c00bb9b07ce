import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { type DenialReason, denialReasons } from "../../src/proxy/admission/denial.ts";
import type { ConnectionReport } from "../../src/proxy/reports.ts";
import { type Observer, observer } from "../../src/telemetry/observer.ts";
import { messageLines, type ServedBy, xinetdObserver } from "../../src/telemetry/xinetd-log.ts";

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

/** The lines of what `tell` tells, without their time, and what was left to the other log. */
function told(tell: (log: Observer) => void, servedBy: ServedBy = { kind: "inetd" }): string[] {
  const lines: string[] = [];
  const others = observer({
    connection: ({ outcome }) => lines.push(`other: ${outcome}`),
    userId: ({ trouble }) => lines.push(`other: ${trouble}`),
    engineUp: (description) => lines.push(`other: ${description}`),
  });
  tell(xinetdObserver({ write: (line) => lines.push(line), servedBy: () => servedBy, others, now: () => AT }));
  return lines.map((line) => line.replace("26/11/22@07:05:09: ", ""));
}

const ended = (report: Partial<ConnectionReport>, servedBy?: ServedBy): string[] =>
  told((log) => log.connection({ ...connection, ...report }), servedBy);

suite("xinetdObserver()", () => {
  test("begins each line with the local time, as xinetd does", () => {
    const lines: string[] = [];
    const write = (line: string): number => lines.push(line);
    const log = xinetdObserver({ write, servedBy: () => undefined, others: observer(), now: () => AT });
    log.connectionOpened(connection);
    assert.deepEqual(lines, ["26/11/22@07:05:09: START: ftp pid=0 from=127.0.0.1"]);
  });

  test("tells of a process its pid, and how it ended", () => {
    assert.deepEqual(
      told((log) => log.connectionOpened({ ...connection, pid: 28673 })),
      ["START: ftp pid=28673 from=127.0.0.1"],
    );
    assert.deepEqual(ended({ pid: 28673, exit: { code: 2 } }), ["EXIT: ftp status=2 pid=28673 duration=2(sec)"]);
    assert.deepEqual(ended({ pid: 7929, exit: { signal: "SIGKILL" } }), [
      "EXIT: ftp signal=9 pid=7929 duration=2(sec)",
    ]);
  });

  test("tells of a relay what it carried", () => {
    for (const kind of ["container", "process", "forward"]) {
      assert.deepEqual(ended({ outcome: "relayed", bytesIn: 5, bytesOut: 9 }, { kind }), [
        "TRAFFIC: ftp in=5(bytes) out=9(bytes)",
        "EXIT: ftp status=0 pid=0 duration=2(sec)",
      ]);
    }
  });

  test("tells the end of those builtins for which xinetd has a process", () => {
    const lines = ["echo", "discard", "chargen", "daytime", "time"].map((builtin) =>
      ended({}, { kind: "builtin", builtin }).join(),
    );
    const exit = "EXIT: ftp status=0 pid=0 duration=2(sec)";
    assert.deepEqual(lines, [exit, exit, exit, "", ""]);
  });

  test("tells a trap as a refusal", () => {
    const lines = told(
      (log) => {
        log.connectionOpened(connection);
        log.connection(connection);
      },
      { kind: "sensor" },
    );
    assert.deepEqual(lines, ["FAIL: ftp address from=127.0.0.1"]);
  });

  test("tells a refusal in xinetd's words", () => {
    const words: Readonly<Record<DenialReason, string>> = {
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
      const lines = told((log) => log.connection({ ...unserved, outcome: "denied_limit", reason }));
      assert.deepEqual(lines, [`FAIL: ftp ${words[reason]} from=127.0.0.1`]);
    }
  });

  test("has more words for what xinetd does not know", () => {
    const lines = told((log) => {
      log.connection({ ...unserved, outcome: "start_failed" });
      log.connection({ ...unserved, outcome: "client_gone" });
      log.connection({ ...unserved, outcome: "served", end: "probe" });
    });
    const others = ["other: start_failed", "other: client_gone", "other: served"];
    assert.deepEqual(lines, ["FAIL: ftp fork from=127.0.0.1", ...others]);
  });

  test("shows addresses without their port", () => {
    const shown = ["[fe80::1]:7", "192.0.2.1:70", "unknown:0"].map((client) =>
      told((log) => log.connectionOpened({ ...connection, client })).join(),
    );
    assert.deepEqual(
      shown.map((line) => line.replace(/.*from=/, "")),
      ["fe80::1", "192.0.2.1", "<no address>"],
    );
  });

  test("tells who a client is, and leaves to others that nobody said so", () => {
    const lines = told((log) => {
      log.userId({ ...connection, answer: "UNIX : alice" });
      log.userId({ ...connection, trouble: "ECONNREFUSED" });
      log.engineUp("docker");
    });
    assert.deepEqual(lines, ["USERID: ftp UNIX : alice", "other: ECONNREFUSED", "other: docker"]);
  });

  test("its refusals are found by the filter of fail2ban", () => {
    // The daemon's name and the host, as the filter writes them out.
    const filter = /FAIL: \S+ (?:address|libwrap) from=(?:::f{4,6}:)?(?<host>\S+)$/;
    const [line = ""] = told((log) => log.connection({ ...unserved, outcome: "denied_limit", reason: "banned" }));
    assert.equal(filter.exec(line)?.groups?.["host"], "127.0.0.1");
  });
});

suite("messageLines()", () => {
  test("has the form of xinetd's messages, each line of its own, and nothing that speaks to a terminal", () => {
    assert.deepEqual(messageLines("a\n b\u001b[31m\u0085", "error", 7, AT), [
      "26/11/22@07:05:09 wakeport[7]: ERROR: a",
      "26/11/22@07:05:09 wakeport[7]: ERROR:  b\\x1b[31m\\x85",
    ]);
  });
});
