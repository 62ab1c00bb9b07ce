/** FTP, SMTP and SSH: ready when the server greets. */
import { escapeControls } from "../net/escape.ts";
import type { Parsed } from "../net/peek.ts";
import { GREETING_MS } from "./banner.ts";
import type { Question } from "./exchange.ts";
import { readLine } from "./lines.ts";
import { AnsweredError } from "./probe.ts";

/** Quoted part of a greeting, in characters. */
const MAX_CITED = 100;

/** Reads the first line. A greeting may have several: `220-`, and at last `220 `. */
export function replyQuestion(protocol: "ftp" | "smtp"): Question {
  return {
    ...greetingOf(protocol),
    ask: async (exchange, signal) => {
      await exchange.receive((bytes) => {
        const found = readLine(bytes);
        if (found !== undefined && !/^220(?:[- ]|$)/.test(found.value))
          throw new AnsweredError(`greets with "${escapeControls(found.value.slice(0, MAX_CITED))}"`);
        // `leave` reads the line again.
        return found && { value: found.value, used: 0 };
      }, signal);
    },
    // Mail servers reject a client that sends before the last line.
    leave: async (exchange, signal) => {
      await exchange.receive(readToLastLine, signal);
      exchange.send("QUIT\r\n");
      await exchange.receive(readLine, signal);
    },
  };
}

/** Other lines may come before the version (RFC 4253, 4.2). */
export const sshQuestion: Question = {
  ...greetingOf("ssh"),
  ask: async (exchange, signal) => {
    while (!(await exchange.receive(readLine, signal)).startsWith("SSH-"));
  },
};

function greetingOf(protocol: string): Pick<Question, "name" | "missing" | "limitMs"> {
  return { name: `${protocol} greeting`, missing: "has not greeted", limitMs: GREETING_MS };
}

function readToLastLine(bytes: Buffer): Parsed<undefined> | undefined {
  const end = /^220(?: .*)?\r?\n/m.exec(bytes.toString("latin1"));
  return end === null ? undefined : { value: undefined, used: end.index + end[0].length };
}
