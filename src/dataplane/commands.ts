/** Commands from the main thread to the worker: records in a pipe, which a write of this size never splits (pipe(7)). */
import type { RelayEnd } from "../net/relay.ts";
import type { LentListener } from "./lent-listener.ts";

export const RECORD_BYTES = 16;

/** Facts about the sockets of an `add`. */
export const flags = {
  isClientTls: 1,
  isUpstreamTls: 2,
  isClientBroken: 4,
  isUpstreamBroken: 8,
  /** The next message of the port contains bytes that come before those of the sockets. */
  hasEarlyBytes: 16,
} as const;

/** Bytes that one side has sent and the other one has not accepted yet. */
export interface EarlyMessage {
  readonly client: Uint8Array;
  readonly upstream: Uint8Array;
}

/** Belongs to a `listen`. */
export type ListenMessage = Pick<LentListener, "upstream" | "maxDials">;

export type Command =
  | {
      readonly kind: "add";
      readonly slot: number;
      readonly client: number;
      readonly upstream: number;
      readonly flags: number;
    }
  | { readonly kind: "cut"; readonly slot: number; readonly end: RelayEnd }
  | { readonly kind: "targetGone"; readonly slot: number }
  /** The slot identifies the listener. The next message of the port belongs to it. */
  | { readonly kind: "listen"; readonly slot: number; readonly fd: number }
  | { readonly kind: "unlisten"; readonly slot: number }
  /** The target of a listener's connections is down. */
  | { readonly kind: "listenerTargetGone"; readonly slot: number }
  /** The drain of a listener's connections is over. */
  | { readonly kind: "cutListener"; readonly slot: number }
  /** Only wakes the worker. */
  | { readonly kind: "stop" };

const kinds = ["add", "cut", "targetGone", "listen", "unlisten", "listenerTargetGone", "cutListener", "stop"] as const;
export const relayEnds: readonly RelayEnd[] = ["clean", "client_reset", "upstream_reset", "target_gone", "drained"];

/** Returns a record. */
export function encode(command: Command): Buffer {
  const record = Buffer.alloc(RECORD_BYTES);
  record.writeUInt8(kinds.indexOf(command.kind), 0);
  if (command.kind === "add") {
    record.writeUInt8(command.flags, 1);
    record.writeInt32LE(command.client, 8);
    record.writeInt32LE(command.upstream, 12);
  }
  if (command.kind === "listen") record.writeInt32LE(command.fd, 8);
  if (command.kind === "cut") record.writeUInt8(relayEnds.indexOf(command.end), 1);
  if (command.kind !== "stop") record.writeInt32LE(command.slot, 4);
  return record;
}

/** Returns the command of the record at an offset. */
export function decode(records: Buffer, offset: number): Command {
  const kind = kinds[records.readUInt8(offset)];
  const detail = records.readUInt8(offset + 1);
  const slot = records.readInt32LE(offset + 4);
  switch (kind) {
    case "add": {
      const client = records.readInt32LE(offset + 8);
      return { kind, slot, client, upstream: records.readInt32LE(offset + 12), flags: detail };
    }
    case "cut":
      return { kind, slot, end: relayEnds[detail]! };
    case "listen":
      return { kind, slot, fd: records.readInt32LE(offset + 8) };
    case "targetGone":
    case "unlisten":
    case "listenerTargetGone":
    case "cutListener":
      return { kind, slot };
    default:
      return { kind: "stop" };
  }
}
