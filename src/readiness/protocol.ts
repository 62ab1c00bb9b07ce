import type { ProbedProtocol } from "../config/config.ts";
import type { ProxyVersion } from "../net/proxy-protocol.ts";
import { exchangeProbe, type ReadinessCheck } from "./exchange.ts";
import { replyCheck, sshCheck } from "./greeting.ts";
import { mysqlCheck } from "./mysql.ts";
import { postgresCheck } from "./postgres.ts";
import type { NamedProbe } from "./probe.ts";
import { redisCheck } from "./redis.ts";

/** Returns a probe that succeeds when the server on `port` is ready according to `protocol`. */
export function protocolProbe(port: number, protocol: ProbedProtocol, send?: ProxyVersion): NamedProbe {
  return exchangeProbe(port, checkOf(protocol), send);
}

function checkOf(protocol: ProbedProtocol): ReadinessCheck {
  switch (protocol) {
    case "redis":
      return redisCheck();
    case "postgres":
      return postgresCheck();
    case "mysql":
      return mysqlCheck;
    case "ssh":
      return sshCheck;
    case "ftp":
    case "smtp":
      return replyCheck(protocol);
  }
}
