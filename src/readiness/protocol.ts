import type { ProbedProtocol } from "../config/config.ts";
import type { ProxyVersion } from "../net/proxy-protocol.ts";
import { type Question, questionProbe } from "./exchange.ts";
import { replyQuestion, sshQuestion } from "./greeting.ts";
import { mysqlQuestion } from "./mysql.ts";
import { postgresQuestion } from "./postgres.ts";
import type { NamedProbe } from "./probe.ts";
import { redisQuestion } from "./redis.ts";

/** Ready when the server on `port` shows it in `protocol`. */
export function protocolProbe(port: number, protocol: ProbedProtocol, send?: ProxyVersion): NamedProbe {
  return questionProbe(port, questionOf(protocol), send);
}

function questionOf(protocol: ProbedProtocol): Question {
  switch (protocol) {
    case "redis":
      return redisQuestion();
    case "postgres":
      return postgresQuestion();
    case "mysql":
      return mysqlQuestion;
    case "ssh":
      return sshQuestion;
    case "ftp":
    case "smtp":
      return replyQuestion(protocol);
  }
}
