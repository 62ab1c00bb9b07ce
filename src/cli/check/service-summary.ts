/** How the clients of a service are met, and how its target lives, in a line: what `wakeport check` prints below the plan. */
import { isWoken, type ProbedProtocol, type ReadySpec, type Service } from "../../config/config.ts";
import { maskUrl } from "../../config/mask.ts";
import { formatDuration } from "../../config/values/units.ts";

/** Undefined where it is all as it is when nothing is said. */
export function serviceSummary(service: Service): string | undefined {
  const { hold, proxyProtocol, protocol, wakeOn } = service;
  const woken = [
    protocol !== "raw" && `speaks ${protocol}`,
    hold.kind === "page" && `browsers see a page${hold.logLines > 0 ? `, with ${hold.logLines} lines of its log` : ""}`,
    hold.kind === "silent" && "held: silent",
    wakeOn === "first_byte" && "woken by the first byte",
    readyCondition(service.ready),
    sleepSummary(service),
  ];
  const sent = proxyProtocol.send !== undefined && `is told of its clients by PROXY ${proxyProtocol.send}`;
  const words = [...(isWoken(service) ? woken : []), sent].filter((one) => one !== false);
  return words.length === 0 ? undefined : words.join("; ");
}

const protocolConditions: Readonly<Record<ProbedProtocol, string>> = {
  ftp: "it greets with 220",
  smtp: "it greets with 220",
  ssh: "it sends its version",
  mysql: "it sends its handshake",
  redis: "it answers PING and is not loading",
  postgres: "it accepts sessions",
};

function readyCondition(ready: readonly ReadySpec[]): string | false {
  const parts = ready.map((part) => {
    switch (part.kind) {
      case "banner":
        return `it greets with ${JSON.stringify(part.banner)}`;
      case "http":
        return `GET ${maskUrl(part.path)} answers ${part.status.from === part.status.to ? part.status.from : `${part.status.from}-${part.status.to}`}`;
      case "log":
        return `its log has /${part.pattern}/`;
      case "healthy":
        return "it is healthy";
      case "tcp":
        return "it accepts connections";
      case "protocol":
        return protocolConditions[part.protocol];
    }
  });
  const isUsual = ready.length === 0 || (ready.length === 1 && ready[0]?.kind === "tcp");
  return !isUsual && `ready when ${parts.join(" and ")}`;
}

function sleepSummary({ sleep, thenStop }: Pick<Service, "sleep" | "thenStop">): string | false {
  if (thenStop !== undefined)
    return `sleeps by ${sleep}, and by ${thenStop.action} ${formatDuration(thenStop.afterMs)} later`;
  return sleep !== "stop" && `sleeps by ${sleep}`;
}
