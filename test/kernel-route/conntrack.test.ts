import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { flowsIn } from "../../src/kernel-route/conntrack.ts";

const WEB = 0x77700001;

/** An entry of conntrack(8) 1.4.7, forwarded to 10.2.0.2. */
function entry(state: string, { mark = WEB, flags = "[ASSURED] ", replySource = "10.2.0.2" } = {}): string {
  const original = "src=10.1.0.1 dst=10.1.0.2 sport=49966 dport=8080";
  const [unreplied, assured] = flags === "[UNREPLIED] " ? [flags, ""] : ["", flags];
  const reply = `src=${replySource} dst=10.2.0.1 sport=9090 dport=49966`;
  return `tcp      6 431999 ${state} ${original} ${unreplied}${reply} ${assured}mark=${mark} use=1`;
}

suite("flowsIn()", () => {
  test("counts open connections by mark", () => {
    const listing = [
      entry("ESTABLISHED"),
      entry("CLOSE_WAIT"),
      entry("FIN_WAIT"),
      entry("LAST_ACK"),
      entry("SYN_SENT", { flags: "[UNREPLIED] " }),
      entry("SYN_RECV", { mark: WEB + 1, flags: "" }),
    ];
    assert.deepEqual(
      flowsIn(`${listing.join("\n")}\n`),
      new Map([
        [WEB, 5],
        [WEB + 1, 1],
      ]),
    );
  });

  test("counts connections with IPv6", () => {
    const [client, front, target, back] = ["fd77::1", "fd77::2", "fd78::2", "fd78::1"];
    const line = `tcp      6 300 ESTABLISHED src=${client} dst=${front} sport=1 dport=80 src=${target} dst=${back} sport=80 dport=1 [ASSURED] mark=${WEB} use=1`;
    assert.deepEqual(flowsIn(line), new Map([[WEB, 1]]));
  });

  test("ignores connections that ended", () => {
    assert.deepEqual(flowsIn([entry("TIME_WAIT"), entry("CLOSE")].join("\n")), new Map());
  });

  test("ignores marked connections that stayed with the listener", () => {
    assert.deepEqual(flowsIn(entry("ESTABLISHED", { replySource: "10.1.0.2" })), new Map());
  });
});
