/** Assigns the replies of an FTP server to the commands of its client. */

export interface PendingCommand {
  readonly kind: "other" | "auth" | "pasv" | "epsv" | "epsv_for_pasv" | "epsv_all" | "active" | "transfer" | "rejected";
  /** For a rejected command: the reply that replaces the server's. */
  readonly reply?: string;
}

export const OTHER: PendingCommand = { kind: "other" };

/** If a client sends more commands without waiting, the oldest are forgotten. */
const MAX_PENDING = 1_000;

/** Commands to which a positive reply with this code can belong. */
const kindsOf: Readonly<Record<number, readonly PendingCommand["kind"][]>> = {
  227: ["pasv", "rejected"],
  229: ["epsv", "epsv_for_pasv", "rejected"],
  234: ["auth"],
};

export class PendingCommands {
  readonly #commands: PendingCommand[] = [];

  add(command: PendingCommand): void {
    if (this.#commands.length >= MAX_PENDING) this.#commands.shift();
    this.#commands.push(command);
  }

  /**
   * Returns the command to which a reply with this code belongs. If a server sends too many or too few replies, the next
   * code that can belong to only one kind of command restores the order.
   */
  take(code: number): PendingCommand {
    if (!canRejectCommand(code)) while (this.#commands[0]?.kind === "rejected") this.#commands.shift();
    const kinds = kindsOf[code];
    const index = kinds === undefined ? 0 : this.#commands.findIndex(({ kind }) => kinds.includes(kind));
    return this.#commands.splice(0, Math.max(0, index) + 1).at(-1) ?? OTHER;
  }
}

/** Returns whether a reply can belong to a rejected command. Any other reply belongs to the command after it. */
function canRejectCommand(code: number): boolean {
  return code >= 400 || code === 200 || (code >= 227 && code <= 229);
}
