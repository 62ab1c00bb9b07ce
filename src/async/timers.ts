/** The longest that a timer runs, 24.8 days: a longer one would fire at once. */
export const MAX_TIMER_MS: number = 2 ** 31 - 1;

/** A delay that a timer can take, of any number of milliseconds. */
export function timerMs(ms: number): number {
  return Math.min(Math.max(0, ms), MAX_TIMER_MS);
}
