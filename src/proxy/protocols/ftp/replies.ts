/** Tells which line of a server is what part of its replies (RFC 959, 4.2). */

/** What a line is that ends a reply. */
export interface Reply {
  readonly code: number;
  /** Whether it is the whole of it. */
  readonly isOneLine: boolean;
}

export class Replies {
  /** Of the reply of several lines that is under way. */
  #open: string | undefined;

  /**
   * @param text one line, or the beginning of a long one
   * @returns undefined for a line that no reply ends with
   */
  read(text: string): Reply | undefined {
    const [, code, mark] = /^(\d{3})([ -]|\r?\n|$)/.exec(text) ?? [];
    if (code === undefined) return undefined;
    if (this.#open !== undefined) {
      if (code !== this.#open || mark === "-") return undefined;
      this.#open = undefined;
      return { code: Number(code), isOneLine: false };
    }
    if (mark === "-") {
      this.#open = code;
      return undefined;
    }
    return { code: Number(code), isOneLine: true };
  }
}
