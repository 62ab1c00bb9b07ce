import type { AccessTimes } from "../../config/values/access-times.ts";

const MINUTE_MS = 60_000;
const DAY = 24 * 60;
const NAMES: readonly string[] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/** When a service is open, by the clock on the wall of its time zone. */
export class AccessSchedule {
  readonly #times: readonly AccessTimes[];
  readonly #clock: Intl.DateTimeFormat;
  /** No zone changes its clock within a minute. */
  #last: { readonly minute: number; readonly isOpen: boolean } | undefined;

  /** @param timeZone a name that the system knows; default: the machine's own */
  constructor(times: readonly AccessTimes[], timeZone?: string) {
    this.#times = times;
    this.#clock = new Intl.DateTimeFormat("en-US", {
      weekday: "short",
      hour: "2-digit",
      minute: "2-digit",
      hourCycle: "h23",
      ...(timeZone !== undefined && { timeZone }),
    });
  }

  /**
   * Whether clients may come at `now`, Unix time in milliseconds. An hour that the clock skips is over when it begins,
   * one that it shows twice is open, or closed, twice.
   */
  isOpen(now: number): boolean {
    const minute = Math.floor(now / MINUTE_MS);
    if (this.#last?.minute !== minute) {
      const { day, clock } = this.#localTime(minute * MINUTE_MS);
      this.#last = { minute, isOpen: isOpenAt(this.#times, day, clock) };
    }
    return this.#last.isOpen;
  }

  #localTime(now: number): { day: number; clock: number } {
    const parts = new Map(this.#clock.formatToParts(now).map(({ type, value }) => [type, value]));
    const clock = Number(parts.get("hour")) * 60 + Number(parts.get("minute"));
    return { day: NAMES.indexOf(parts.get("weekday") ?? ""), clock };
  }
}

/**
 * Whether one of `times` holds.
 *
 * @param day 0 is Sunday
 * @param clock minutes since midnight, by the clock
 */
export function isOpenAt(times: readonly AccessTimes[], day: number, clock: number): boolean {
  const dayBefore = (day + 6) % 7;
  return times.some(
    ({ days, spans }) =>
      (days.includes(day) && spans.some((span) => span.from <= clock && clock < span.to)) ||
      (days.includes(dayBefore) && spans.some((span) => clock + DAY < span.to)),
  );
}
