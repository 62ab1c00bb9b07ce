/** FTP (RFC 959): data connections lead by way of wakeport, and who waits for the server is told so. */

import type { HoldSpec } from "../../../config/config.ts";
import { formatPeer } from "../../../net/addresses.ts";
import { type Ip, isSameAddress, readIp } from "../../../net/ip.ts";
import { type RelayEnd, relay } from "../../../net/relay.ts";
import type { Slots } from "../../admission/slots.ts";
import type { ProxyObserver } from "../../reports.ts";
import { Greeting, type GreetingLines, type GreetingPace, type Splice } from "../greeting.ts";
import type { HeldClient, HeldRelayOptions, Protocol, WaitingClient } from "../protocol.ts";
import { ControlChannel } from "./control-channel.ts";
import { DataConnections, type Leg, legOf } from "./data-connections.ts";
import { type FtpAddress, writeEprt } from "./endpoints.ts";
import { messagesOf } from "./messages.ts";

/** Nobody hears of a quick start. In between it is less than the ten seconds after which the hastiest clients give up. */
const PACE: GreetingPace = { firstMs: 1_000, everyMs: 5_000 };

export interface FtpOptions {
  readonly service: string;
  /** What PASV tells clients, an IPv4 address; absent: the address that they connected to. */
  readonly publicAddress?: Ip | undefined;
  readonly hold: HoldSpec;
  /** Places of the whole process. */
  readonly slots: Slots;
  readonly observer: Pick<ProxyObserver, "warning">;
}

/** Speaks to the clients of one service. */
export class Ftp implements Protocol {
  readonly #options: FtpOptions;
  #hasSteppedAside = false;

  constructor(options: FtpOptions) {
    this.#options = options;
  }

  hold({ socket, progress }: WaitingClient): HeldClient {
    const words = messagesOf(progress.service);
    const greeting = new Greeting(socket, words, PACE);
    if (this.#options.hold.kind === "silent") greeting[Symbol.dispose]();
    return {
      ready: () => {
        greeting[Symbol.dispose]();
        return Promise.resolve(undefined);
      },
      relay: (options) => this.#relay(options, words, greeting.splice),
      refuse: () => Promise.resolve(greeting.rejectionReply),
      [Symbol.dispose]: () => greeting[Symbol.dispose](),
    };
  }

  /** @param splice of a client whose greeting was begun, in these words */
  async #relay(options: HeldRelayOptions, words: GreetingLines, splice: Splice | undefined): Promise<RelayEnd> {
    const [client, upstream] = [legOf(options.client), legOf(options.upstream)];
    // Over before it began: all that is left is the end of the greeting.
    if (client === undefined || upstream === undefined) {
      return await relay({ ...options, ...(splice && { filters: { out: splice } }) });
    }
    const { meters, lost, control } = options;
    const { service, slots } = this.#options;
    let isFailureTold = false;
    const onFailure = (side: "client" | "upstream", error: unknown): void => {
      if (!isFailureTold) this.#warnOfFailure(formatPeer(options.peer), side, error);
      isFailureTold = true;
    };
    const dataConnections = new DataConnections({
      service,
      client,
      upstream,
      meters,
      lost,
      slots,
      onFailure,
      ...(control && { control }),
    });
    const end = await this.#speak(options, { client, upstream }, dataConnections, splice && words);
    await dataConnections.end();
    return end;
  }

  async #speak(
    options: HeldRelayOptions,
    { client, upstream }: { readonly client: Leg; readonly upstream: Leg },
    ways: DataConnections,
    begun: GreetingLines | undefined,
  ): Promise<RelayEnd> {
    const { peer } = options;
    let isBounceTold = false;
    using channel = new ControlChannel({
      ways,
      ...(begun && { begun }),
      client: ipOf(client.there),
      isProxied: !isSameAddress(peer.address, client.there),
      upstream: ipOf(upstream.there).family,
      told: this.#toldTo(client),
      onAside: () => this.#passThrough(options.control !== undefined),
      onBounce: (asked) => {
        if (!isBounceTold) this.#warnOfBounce(formatPeer(peer), asked);
        isBounceTold = true;
      },
    });
    return await relay({ ...options, filters: channel.filters });
  }

  #toldTo({ here }: Leg): Ip | undefined {
    const own = ipOf(here);
    return own.family === "ipv4" ? (this.#options.publicAddress ?? own) : undefined;
  }

  #passThrough(hasDataPorts: boolean): void {
    if (this.#hasSteppedAside || hasDataPorts) return;
    this.#hasSteppedAside = true;
    const { service, observer } = this.#options;
    const what = "clients encrypt their control connections, so that passive mode cannot be led by way of wakeport";
    const remedy = 'give the server a passive range of its own, and the service the same ports as "data:"';
    observer.warning("ftp.encrypted", `service "${service}": ${what}: ${remedy}`);
  }

  #warnOfFailure(peer: string, side: "client" | "upstream", error: unknown): void {
    const { service, observer } = this.#options;
    const isActive = side === "client";
    const what = isActive
      ? `cannot open a data connection to client ${peer} in active mode`
      : `cannot open a data connection to the server for client ${peer} in passive mode`;
    const remedy = isActive
      ? "a client that cannot accept connections must use passive mode"
      : "the server must listen on the port that it announces";
    const why = error instanceof Error ? error.message : String(error);
    observer.warning("ftp.data_failed", `service "${service}": ${what}: ${why}: ${remedy}`);
  }

  #warnOfBounce(peer: string, asked: FtpAddress | undefined): void {
    const { service, observer } = this.#options;
    const where = asked === undefined ? "something that is no address" : writeEprt(asked);
    const what = `${peer} asked for a data connection to ${where}, which is not its own: refused`;
    observer.warning("ftp.bounce", `service "${service}": ${what}`);
  }
}

function ipOf(address: string): Ip {
  const ip = readIp(address);
  if (ip === undefined) throw new TypeError(`no address: ${address}`);
  return ip;
}
