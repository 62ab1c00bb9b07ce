/** FTP, SMTP and SSH: ready when the server greets. */
import { escapeControls } from "../net/escape.ts";
import type { Parsed } from "../net/peek.ts";
import { GREETING_MS } from "./banner.ts";
import { type ReadinessCheck, readLine } from "./exchange.ts";
import { AnsweredError } from "./probe.ts";

/** Quoted part of a greeting, in characters. */
const MAX_QUOTED = 100;

/** Checks the first line of the greeting. It may have several: `220-…`, and the last one `220 …`. */
export function replyCheck(protocol: "ftp" | "smtp"): ReadinessCheck {
  return {
    ...greetingOf(protocol),
    check: async (exchange, signal) => {
      await exchange.receive((bytes) => {
        const found = readLine(bytes);
        if (found !== undefined && !/^220(?:[- ]|$)/.test(found.value))
          throw new AnsweredError(`greets with "${escapeControls(found.value.slice(0, MAX_QUOTED))}"`);
        // `quit` reads the line again.
        return found && { value: found.value, used: 0 };
      }, signal);
    },
    // Mail servers reject a client that sends before the last line.
    quit: async (exchange, signal) => {
      await exchange.receive(readToLastLine, signal);
      exchange.send("QUIT\r\n");
      await exchange.receive(readLine, signal);
    },
  };
}

/** Other lines may come before the version (RFC 4253, 4.2). */
export const sshCheck: ReadinessCheck = {
  ...greetingOf("ssh"),
  check: async (exchange, signal) => {
    while (!(await exchange.receive(readLine, signal)).startsWith("SSH-"));
  },
};

function greetingOf(protocol: string): Pick<ReadinessCheck, "name" | "missing" | "limitMs"> {
  return { name: `${protocol} greeting`, missing: "has not greeted", limitMs: GREETING_MS };
}

function readToLastLine(bytes: Buffer): Parsed<undefined> | undefined {
  const end = /^220(?: .*)?\r?\n/m.exec(bytes.toString("latin1"));
  return end === null ? undefined : { value: undefined, used: end.index + end[0].length };
}
