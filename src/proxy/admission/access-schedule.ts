import type { AccessTimes } from "../../config/values/access-times.ts";

const MINUTE_MS = 60_000;
const DAY = 24 * 60;
const NAMES: readonly string[] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/** The times at which a service is open, in local time of its time zone. */
export class AccessSchedule {
  readonly #times: readonly AccessTimes[];
  readonly #clock: Intl.DateTimeFormat;
  /** The result of this minute: no time zone changes its clock within a minute. */
  #last: { readonly minute: number; readonly isOpen: boolean } | undefined;

  /** @param timeZone an IANA name; default: the machine's time zone */
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
   * Whether the service is open at `now`, Unix time in milliseconds. When daylight saving time begins, the skipped hour
   * does not occur; when it ends, the repeated hour occurs twice.
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
 * Whether one of `times` includes this local time.
 *
 * @param day 0 is Sunday
 * @param clock minutes since midnight
 */
export function isOpenAt(times: readonly AccessTimes[], day: number, clock: number): boolean {
  const dayBefore = (day + 6) % 7;
  return times.some(
    ({ days, spans }) =>
      (days.includes(day) && spans.some((span) => span.from <= clock && clock < span.to)) ||
      (days.includes(dayBefore) && spans.some((span) => clock + DAY < span.to)),
  );
}
