/** Finds the lines that end a reply of an FTP server (RFC 959, 4.2). */

/** The last line of a reply. */
export interface Reply {
  readonly code: number;
  /** Whether the reply has only this line. */
  readonly isOneLine: boolean;
}

export class Replies {
  /** Code of an unfinished reply of several lines. */
  #open: string | undefined;

  /**
   * @param text one line, or the beginning of a long one
   * @returns undefined if no reply ends with this line
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
