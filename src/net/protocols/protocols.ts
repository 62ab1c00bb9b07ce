import type { ProtocolName, Service } from "../../config/config.ts";
import type { Protocol } from "./protocol.ts";
import { raw } from "./raw.ts";
import { smtp } from "./smtp.ts";

/** Each makes what the clients of one service are spoken to with. */
const protocols: Readonly<Record<ProtocolName, (service: Service) => Protocol>> = {
  raw: () => raw,
  smtp: ({ hold }) => smtp(hold),
  ssh: () => raw,
  mysql: () => raw,
  redis: () => raw,
  postgres: () => raw,
};

export function protocolOf(service: Service): Protocol {
  return protocols[service.protocol](service);
}
