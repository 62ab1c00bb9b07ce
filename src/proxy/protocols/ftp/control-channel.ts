import { CommandRewriter } from "./command-rewriter.ts";
import { ControlSession, type ControlSessionOptions } from "./control-session.ts";
import { LineFilter } from "./line-filter.ts";
import { ReplyRewriter } from "./reply-rewriter.ts";

/**
 * Filters of an FTP control connection. They replace addresses and ports, so that data connections pass through wakeport.
 * wakeport never sends a command or a reply on its own: it only replaces those of the client and the server, in order.
 *
 * @see RFC 959, 1639, 2428, 4217
 */
export class ControlChannel implements Disposable {
  readonly filters: { readonly in: LineFilter; readonly out: LineFilter };
  readonly #session: ControlSession;

  constructor(options: ControlSessionOptions) {
    const session = new ControlSession(options);
    const isEncrypted = (): boolean => session.isEncrypted;
    const commands = new CommandRewriter(session);
    const replies = new ReplyRewriter(session);
    this.#session = session;
    this.filters = {
      in: new LineFilter({
        isEncrypted,
        read: (piece, write) => commands.read(piece, write),
        readRest: (piece, write) => commands.readRest(piece, write),
      }),
      out: new LineFilter({
        isEncrypted,
        read: (piece, write) => replies.read(piece, write),
        onEnd: (write) => replies.end(write),
      }),
    };
  }

  [Symbol.dispose](): void {
    this.#session.endAuthWait();
  }
}
