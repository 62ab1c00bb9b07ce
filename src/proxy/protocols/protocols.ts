import type { ProtocolName, Service } from "../../config/config.ts";
import type { Slots } from "../admission/slots.ts";
import type { ProxyObserver } from "../reports.ts";
import { Ftp } from "./ftp/ftp.ts";
import { Http } from "./http/http.ts";
import { mysql } from "./mysql.ts";
import { postgres } from "./postgres.ts";
import type { Protocol } from "./protocol.ts";
import { raw } from "./raw.ts";
import { redis } from "./redis.ts";
import { smtp } from "./smtp.ts";

export interface ProtocolContext {
  /** Slots of the whole process. */
  readonly slots: Slots;
  readonly observer: ProxyObserver;
}

/** Create the protocol of a service. */
const protocols: Readonly<Record<ProtocolName, (service: Service, context: ProtocolContext) => Protocol>> = {
  raw: () => raw,
  ftp: ({ name: service, hold, ftp }, context) => new Ftp({ service, hold, ...ftp, ...context }),
  smtp: ({ hold }) => smtp(hold),
  // RFC 4253 4.2 allows lines before the version, but clients show them only in debug output.
  ssh: () => raw,
  mysql: () => mysql,
  redis: () => redis,
  postgres: () => postgres,
  http: ({ hold }) => new Http(hold.kind === "page" ? { page: hold } : {}),
};

export function protocolOf(service: Service, context: ProtocolContext): Protocol {
  return protocols[service.protocol](service, context);
}
