/** Words below this length may differ in one letter only: "imap" is not a misspelt "smtp". */
const LONG = 5;

/** Returns the candidate that differs in the fewest letters, at most two. Returns undefined if several are equal. */
export function suggest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let isTied = false;
  let bestDistance = Math.min(word.length < LONG ? 2 : 3, word.length);
  for (const candidate of candidates) {
    // The distance is at least the difference of the lengths.
    if (Math.abs(word.length - candidate.length) > bestDistance) continue;
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance === bestDistance) isTied = best !== undefined && best !== candidate;
    if (distance < bestDistance) [best, bestDistance, isTied] = [candidate, distance, false];
  }
  return isTied ? undefined : best;
}

/** Levenshtein distance: the number of letters to add, remove or change. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (const [j, other] of [...b].entries()) {
      next.push(Math.min(row[j + 1]! + 1, next[j]! + 1, row[j]! + (letter === other ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}
