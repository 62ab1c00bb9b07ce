/**
 * The wire between the harness and the server program: one JSON command a line, one JSON reply a line, in order. It
 * runs beside the relay, so what a case asks of the server never depends on the relay under test.
 */
import type { Socket } from "node:net";
import { createInterface } from "node:readline";
import type { Report } from "./endpoint.ts";

export type Command =
  /** Requests only a reply. */
  | { readonly op: "count" }
  /** Resets every connection that is left. */
  | { readonly op: "sweep" }
  | { readonly op: "report" | "flood" | "reset" | "endWithPeer"; readonly id: string }
  | { readonly op: "send" | "sendAndEnd"; readonly id: string; readonly bytes: number };

export interface Reply {
  /** Connections open at the server. */
  readonly open: number;
  /** The state of the named connection; null until it connects. */
  readonly report: Report | null;
}

export class Control {
  readonly #socket: Socket;
  readonly #waiting: PromiseWithResolvers<Reply>[] = [];
  #lost: Error | null = null;

  constructor(socket: Socket) {
    this.#socket = socket;
    createInterface(socket).on("line", (line) => this.#waiting.shift()?.resolve(JSON.parse(line) as Reply));
    socket.on("error", () => {
      // A close always follows and is what counts.
    });
    socket.on("close", () => this.#lose());
  }

  ask(command: Command): Promise<Reply> {
    if (this.#lost !== null) return Promise.reject(this.#lost);
    const reply = Promise.withResolvers<Reply>();
    this.#waiting.push(reply);
    this.#socket.write(`${JSON.stringify(command)}\n`);
    return reply.promise;
  }

  close(): void {
    this.#socket.destroy();
  }

  #lose(): void {
    this.#lost = new Error("Control connection to the server program closed");
    for (const reply of this.#waiting.splice(0)) reply.reject(this.#lost);
  }
}

/** The server's end of one connection, named by the id with which the client greeted. */
export class RemoteEndpoint {
  readonly #control: Control;
  readonly #id: string;

  constructor(control: Control, id: string) {
    this.#control = control;
    this.#id = id;
  }

  async send(bytes: number): Promise<void> {
    await this.#control.ask({ op: "send", id: this.#id, bytes });
  }

  async sendAndEnd(bytes: number): Promise<void> {
    await this.#control.ask({ op: "sendAndEnd", id: this.#id, bytes });
  }

  async flood(): Promise<void> {
    await this.#control.ask({ op: "flood", id: this.#id });
  }

  async reset(): Promise<void> {
    await this.#control.ask({ op: "reset", id: this.#id });
  }

  async endWithPeer(): Promise<void> {
    await this.#control.ask({ op: "endWithPeer", id: this.#id });
  }

  async hasArrived(): Promise<boolean> {
    const { report } = await this.#control.ask({ op: "report", id: this.#id });
    return report !== null;
  }

  async report(): Promise<Report> {
    const { report } = await this.#control.ask({ op: "report", id: this.#id });
    if (report === null) throw new Error(`Connection "${this.#id}" is unknown to the server program`);
    return report;
  }
}
