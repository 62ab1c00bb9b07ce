/** What somebody else has said, for a log: nothing in it may end a line of ours, or speak to a terminal. */
export function escaped(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`);
}
