/** Summarises the settings of a service that differ from the defaults in one line of `wakeport check`. */
import { isWoken, type ProbedProtocol, type ReadySpec, type Service } from "../../config/config.ts";
import { maskUrl } from "../../config/mask.ts";
import { formatDuration } from "../../config/values/units.ts";

/** Returns undefined if every setting has its default. */
export function serviceSummary(service: Service): string | undefined {
  const { hold, proxyProtocol, protocol, wakeOn } = service;
  const woken = [
    protocol !== "raw" && `protocol ${protocol}`,
    hold.kind === "page" &&
      `browsers get a waiting page${hold.logLines > 0 ? ` with ${hold.logLines} lines of the log` : ""}`,
    hold.kind === "silent" && "held: silent",
    wakeOn === "first_byte" && "started by the first byte",
    readyCondition(service.ready),
    sleepSummary(service),
  ];
  const sent = proxyProtocol.send !== undefined && `receives a PROXY ${proxyProtocol.send} header`;
  const parts = [...(isWoken(service) ? woken : []), sent].filter((part) => part !== false);
  return parts.length === 0 ? undefined : parts.join("; ");
}

const protocolConditions: Readonly<Record<ProbedProtocol, string>> = {
  ftp: "the server greets with 220",
  smtp: "the server greets with 220",
  ssh: "the server sends its version",
  mysql: "the server sends its handshake",
  redis: "the server answers PING and is not loading",
  postgres: "the server accepts sessions",
};

function readyCondition(ready: readonly ReadySpec[]): string | false {
  const parts = ready.map((part) => {
    switch (part.kind) {
      case "banner":
        return `the server greets with ${JSON.stringify(part.banner)}`;
      case "http":
        return `GET ${maskUrl(part.path)} returns ${part.status.from === part.status.to ? part.status.from : `${part.status.from}-${part.status.to}`}`;
      case "log":
        return `the log matches /${part.pattern}/`;
      case "healthy":
        return "the container is healthy";
      case "tcp":
        return "the port accepts connections";
      case "protocol":
        return protocolConditions[part.protocol];
    }
  });
  const isUsual = ready.length === 0 || (ready.length === 1 && ready[0]?.kind === "tcp");
  return !isUsual && `ready when ${parts.join(" and ")}`;
}

function sleepSummary({ sleep, thenStop }: Pick<Service, "sleep" | "thenStop">): string | false {
  if (thenStop !== undefined)
    return `sleep: ${sleep}, then ${thenStop.action} after ${formatDuration(thenStop.afterMs)}`;
  return sleep !== "stop" && `sleep: ${sleep}`;
}
