/** FTP (RFC 959). Data connections pass through wakeport, and waiting clients get lines of a greeting. */

import type { HoldSpec } from "../../../config/config.ts";
import { messageOf } from "../../../errors.ts";
import { formatPeer } from "../../../net/addresses.ts";
import { type Ip, isSameAddress, readIp } from "../../../net/ip.ts";
import type { RelayEnd } from "../../../net/relay.ts";
import type { Slots } from "../../admission/slots.ts";
import type { ProxyObserver } from "../../reports.ts";
import { GreetingFilter, type GreetingIntervals, type GreetingText, holdWithGreeting } from "../greeting.ts";
import type { HeldClient, HeldRelayOptions, Protocol, WaitingClient } from "../protocol.ts";
import { ControlChannel } from "./control-channel.ts";
import { type AddressPair, addressPairOf, DataConnections } from "./data-connections.ts";
import { type FtpAddress, writeEprt } from "./endpoints.ts";
import { greetingText } from "./greeting-text.ts";

/** Some clients give up after ten seconds without a line. */
const INTERVALS: GreetingIntervals = { firstMs: 1_000, everyMs: 5_000 };

export interface FtpOptions {
  readonly service: string;
  /** The IPv4 address in replies to PASV; absent: the address that the client connected to. */
  readonly publicAddress?: Ip | undefined;
  readonly hold: HoldSpec;
  /** Slots of the whole process. */
  readonly slots: Slots;
  readonly observer: Pick<ProxyObserver, "warning">;
}

export class Ftp implements Protocol {
  readonly #options: FtpOptions;
  #hasReportedEncryption = false;

  constructor(options: FtpOptions) {
    this.#options = options;
  }

  hold({ socket, progress }: WaitingClient): HeldClient {
    const text = greetingText(progress.service);
    return holdWithGreeting(socket, {
      text,
      intervals: INTERVALS,
      isSilent: this.#options.hold.kind === "silent",
      relay: (options, isStarted) => this.#relay(options, isStarted ? text : undefined),
    });
  }

  async #relay(options: HeldRelayOptions, startedGreeting: GreetingText | undefined): Promise<RelayEnd> {
    const [client, upstream] = [addressPairOf(options.client), addressPairOf(options.upstream)];
    // A socket is already closed. Only the greeting must be ended.
    if (client === undefined || upstream === undefined) {
      const filters = startedGreeting && { out: new GreetingFilter(startedGreeting) };
      return await options.relayer.relay({ ...options, ...(filters && { filters }) });
    }
    const { peer, meters, lost, control, relayer } = options;
    const { service, slots } = this.#options;
    const dataConnections = new DataConnections({
      service,
      client,
      upstream,
      meters,
      lost,
      relayer,
      slots,
      onFailure: once((side: "client" | "upstream", error: unknown) =>
        this.#warnOfFailure(formatPeer(peer), side, error),
      ),
      ...(control && { control }),
    });
    const own = ipOf(client.remote);
    const channel = new ControlChannel({
      dataConnections,
      ...(startedGreeting && { startedGreeting }),
      client: own,
      isProxied: !isSameAddress(peer.address, client.remote),
      upstream: ipOf(upstream.remote).family,
      publicAddress: this.#publicAddress(client),
      onEncrypted: () => this.#warnOfEncryption(control !== undefined),
      onBounce: once((address: FtpAddress | undefined) => this.#warnOfBounce(formatPeer(peer), address)),
    });
    const end = await relayer.relay({ ...options, filters: channel.filters }).finally(() => channel[Symbol.dispose]());
    await dataConnections.end();
    return end;
  }

  #publicAddress({ local }: AddressPair): Ip | undefined {
    const own = ipOf(local);
    return own.family === "ipv4" ? (this.#options.publicAddress ?? own) : undefined;
  }

  #warnOfEncryption(hasDataPorts: boolean): void {
    if (this.#hasReportedEncryption || hasDataPorts) return;
    this.#hasReportedEncryption = true;
    const { service, observer } = this.#options;
    const problem =
      "clients encrypt their control connections, so passive data connections cannot pass through wakeport";
    const remedy = 'set a passive port range in the server, and the same ports as "data:" of the service';
    observer.warning("ftp.encrypted", `service "${service}": ${problem}: ${remedy}`);
  }

  #warnOfFailure(peer: string, side: "client" | "upstream", error: unknown): void {
    const { service, observer } = this.#options;
    const isActive = side === "client";
    const problem = isActive
      ? `cannot open a data connection to client ${peer} in active mode`
      : `cannot open a data connection to the server for client ${peer} in passive mode`;
    const remedy = isActive
      ? "a client that cannot accept connections must use passive mode"
      : "the server must listen on the port that it announces";
    observer.warning("ftp.data_failed", `service "${service}": ${problem}: ${messageOf(error)}: ${remedy}`);
  }

  #warnOfBounce(peer: string, address: FtpAddress | undefined): void {
    const { service, observer } = this.#options;
    const requested = address === undefined ? "a malformed address" : writeEprt(address);
    const problem = `data connection of ${peer} to ${requested} rejected: the address or port is not the client's own`;
    observer.warning("ftp.bounce", `service "${service}": ${problem}`);
  }
}

function ipOf(address: string): Ip {
  const ip = readIp(address);
  if (ip === undefined) throw new TypeError(`${address} is not a valid IP address`);
  return ip;
}

/** Returns a function that calls `report` only the first time. */
function once<Args extends unknown[]>(report: (...args: Args) => void): (...args: Args) => void {
  let wasCalled = false;
  return (...args) => {
    if (!wasCalled) report(...args);
    wasCalled = true;
  };
}
