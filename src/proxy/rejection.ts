import type net from "node:net";
import { reset } from "../net/reset.ts";
import type { AdmissionStage } from "./admission/admission-stage.ts";
import { DeniedError } from "./admission/denial.ts";
import { MonitorError } from "./admission/monitors.ts";
import type { Rejectable } from "./handlers/handler.ts";

export interface RejectionOptions {
  readonly admission: AdmissionStage;
  /** Replies in the client's protocol, if a handler has the client already. */
  readonly heldClient: Rejectable | undefined;
  /** Reports the client's user id. The client's machine knows the user only until the connection is closed. */
  readonly reportUserId: () => Promise<void>;
}

/** Closes the connection of a client that is not served; resolves when it is closed. */
export async function reject(
  client: net.Socket,
  error: unknown,
  { admission, heldClient, reportUserId }: RejectionOptions,
): Promise<void> {
  const { banners, onDeny, lingering } = admission;
  if (error instanceof MonitorError) return lingering.start(client, { how: "close" });
  if (heldClient !== undefined) return lingering.startAfterReply(client, heldClient.rejectionReply(error));
  if (!(error instanceof DeniedError)) return reset(client);
  if (banners.deny !== undefined) client.write(banners.deny);
  await reportUserId();
  await lingering.start(client, { how: onDeny });
}
