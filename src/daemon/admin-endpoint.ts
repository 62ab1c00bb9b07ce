import { isDeepStrictEqual } from "node:util";
import { type AdminOptions, AdminServer } from "../admin/server.ts";
import { formatListenAddress } from "../proxy/listen/listener.ts";

type Address = Pick<AdminOptions, "host" | "port">;

/** The admin server at an address that a reload can change. */
export class AdminEndpoint {
  readonly #options: Omit<AdminOptions, "host" | "port">;
  #address: Address;
  #server: AdminServer;

  constructor({ host, port }: Address, options: Omit<AdminOptions, "host" | "port">) {
    this.#options = options;
    this.#address = { host, port };
    this.#server = this.#newServer(this.#address);
  }

  /** URL with the bound address. */
  get url(): string {
    return `http://${formatListenAddress({ address: this.#address.host, port: this.#server.port })}`;
  }

  /** @throws BindError */
  open(): Promise<void> {
    return this.#server.open();
  }

  close(): Promise<void> {
    return this.#server.close();
  }

  /**
   * Moves the server to another address and applies a change. The old address is closed first, because a service may take
   * it and the new one may include it.
   *
   * @throws BindError and errors of `change`; the server then listens at the old address
   */
  async move({ host, port }: Address, change: () => Promise<void>): Promise<void> {
    const address = { host, port };
    if (isDeepStrictEqual(address, this.#address)) return change();
    const before = this.#server;
    const server = this.#newServer(address);
    await before.close();
    try {
      await server.open();
      await change();
      this.#server = server;
      this.#address = address;
    } catch (error) {
      await server.close();
      await before.open();
      throw error;
    }
  }

  #newServer(address: Address): AdminServer {
    const allowedHosts = (): string[] => [address.host.toLowerCase(), ...this.#options.allowedHosts()];
    return new AdminServer({ ...this.#options, ...address, allowedHosts });
  }
}
