/** The attributes that are nothing of their own here: what is said about each, so that none is lost silently. */
import type { Conversion } from "./conversion.ts";
import type { Setting } from "./xinetd-settings.ts";
import { minutesOf, wordsOf } from "./xinetd-target.ts";

const meaningless: Readonly<Record<string, string>> = {
  libwrap: "/etc/hosts.allow and /etc/hosts.deny are not read",
  rpc_version: "SunRPC is not supported",
  rpc_number: "SunRPC is not supported",
  mdns: "xinetd itself knows it on macOS only",
  deny_time: "it means something to a SENSOR only",
};

const flagRemarks: Readonly<Record<string, string>> = {
  INTERCEPT: "clients are checked where wakeport accepts them, which it does but for wait = yes",
  NORETRY: "a server that cannot be started is not tried again for the same client",
  NODELAY: "the socket is handed over as it is: a server that needs TCP_NODELAY sets it itself",
  KEEPALIVE: "the socket is handed over as it is: a server that needs SO_KEEPALIVE sets it itself",
  LABELED: "SELinux contexts are not followed",
};

/** Nothing is lost silently. */
export function warnOfTheRest(made: Conversion, flags: ReadonlySet<string>, target: string): void {
  const setting = made.take("flags");
  for (const flag of flags) {
    if (flag === "IDONLY") identOnly(made, setting);
    else if (Object.hasOwn(flagRemarks, flag))
      made.warn(setting?.places[0], `the flag ${flag} is left out: ${flagRemarks[flag]}`);
  }
  const success = made.take("log_on_success");
  if (target !== "forward" && wordsOf(success).includes("TRAFFIC")) {
    made.disable(
      success?.parts.find(({ text }) => text === "TRAFFIC")?.place,
      "TRAFFIC in log_on_success: xinetd disables a service with it that is not redirected",
    );
  }
  checkLog(made);
  // A sensor has taken its own before.
  const [time] = made.left.find(([name]) => name === "deny_time")?.[1].parts ?? [];
  if (time !== undefined && minutesOf(time.text) === undefined) {
    made.disable(
      time.place,
      `deny_time: "${time.text}" is no number of minutes, for which xinetd disables the service`,
    );
  }
  for (const [name, { places }] of made.left) {
    made.warn(places[0], `${name} is left out${Object.hasOwn(meaningless, name) ? `: ${meaningless[name]}` : ""}`);
  }
}

const logFlags: Readonly<Record<string, readonly string[]>> = {
  log_on_success: ["PID", "HOST", "USERID", "EXIT", "DURATION", "TRAFFIC"],
  log_on_failure: ["HOST", "USERID", "ATTEMPT"],
};
const LOG_TYPE = /^(SYSLOG \S+( \S+)?|FILE \S+( \d+[kKmM]?){0,2})$/;

function checkLog(made: Conversion): void {
  for (const [name, known] of Object.entries(logFlags)) {
    const wrong = made.take(name)?.parts.find(({ text }) => !known.includes(text));
    if (wrong !== undefined) {
      made.disable(wrong.place, `${name}: "${wrong.text}" is unknown, for which xinetd disables the service`);
    }
  }
  const type = made.take("log_type");
  if (type !== undefined && !LOG_TYPE.test(wordsOf(type).join(" "))) {
    made.disable(
      type.places[0],
      "log_type is neither SYSLOG FACILITY nor FILE PATH, for which xinetd disables the service",
    );
  }
}

/** It keeps clients out, but only where their identity is asked for. */
function identOnly(made: Conversion, setting: Setting | undefined): void {
  const [place] = setting?.places ?? [];
  if (wordsOf(made.take("log_on_success")).includes("USERID")) {
    made.disable(place, "the flag IDONLY cannot be had: clients without an identity would get in");
  } else made.warn(place, "the flag IDONLY is left out: without USERID in log_on_success it has no effect");
}
