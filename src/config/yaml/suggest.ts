/** Of shorter words one slip is all that can be told from another word: "imap" is no misspelt "smtp". */
const LONG = 5;

/** The one of `candidates` that `word` is most likely a slip of, at most two letters away; of several alike none. */
export function suggest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let isTied = false;
  let bestDistance = Math.min(word.length < LONG ? 2 : 3, word.length);
  for (const candidate of candidates) {
    // So many letters at least must be added or removed.
    if (Math.abs(word.length - candidate.length) > bestDistance) continue;
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance === bestDistance) isTied = best !== undefined && best !== candidate;
    if (distance < bestDistance) [best, bestDistance, isTied] = [candidate, distance, false];
  }
  return isTied ? undefined : best;
}

/** How many letters must be added, removed, changed or exchanged to make one word the other (optimal string alignment). */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (const [j, other] of [...b].entries()) {
      const isExchanged = letter === b[j - 1] && other === a[i - 1];
      const exchanged = isExchanged ? before[j - 1]! + 1 : Number.POSITIVE_INFINITY;
      next.push(Math.min(row[j + 1]! + 1, next[j]! + 1, row[j]! + (letter === other ? 0 : 1), exchanged));
    }
    [before, row] = [row, next];
  }
  return row[b.length]!;
}
