/** Waits for events of descriptors, edge-triggered: epoll(7). */
import { constants } from "node:os";
import type { Syscalls } from "./syscalls.ts";

const { errno: codes } = constants;

export const IN = 0x1;
/** Urgent data (RFC 6093) was received. */
export const PRI = 0x2;
export const OUT = 0x4;
export const ERR = 0x8;
export const HUP = 0x10;
export const RDHUP = 0x2000;
const EDGE_TRIGGERED = 0x80000000;

const ADD = 1;
const DELETE = 2;

const MAX_EVENTS = 256;

interface EventLayout {
  /** Length of a `struct epoll_event` in bytes. */
  readonly size: number;
  /** Offset of `data`. */
  readonly data: number;
}

/** The structure is packed on x86-64 only. */
const layouts: Readonly<Record<string, EventLayout>> = {
  x64: { size: 12, data: 4 },
  arm64: { size: 16, data: 8 },
};

/** Returns the layout of `struct epoll_event`; undefined if it is not known for this architecture. */
export function eventLayoutOf(architecture: string): EventLayout | undefined {
  return layouts[architecture];
}

/** @param generation the one with which the descriptor was added */
export type OnEvent = (fd: number, events: number, generation: number) => void;

/**
 * The watched descriptors. A batch of events may contain an event of a descriptor that was closed a moment ago, and whose
 * number another connection already has. So each event carries the generation of its descriptor.
 */
export class Epoll {
  readonly #syscalls: Syscalls;
  readonly #layout: EventLayout;
  readonly #fd: number;
  readonly #event: Buffer;
  readonly #events: Buffer;

  /**
   * @param architecture the name that Node uses: `x64`
   * @throws Error if the architecture is not supported, or no descriptor is free
   */
  constructor(syscalls: Syscalls, architecture: string) {
    const layout = eventLayoutOf(architecture);
    if (layout === undefined) throw new Error(`the architecture ${architecture} is not supported`);
    this.#syscalls = syscalls;
    this.#layout = layout;
    this.#event = Buffer.alloc(layout.size);
    this.#events = Buffer.alloc(layout.size * MAX_EVENTS);
    this.#fd = check(syscalls.epollCreate(), "epoll_create1");
  }

  /**
   * Watches all events of a descriptor until it is closed. The first event reports its present state.
   *
   * @returns false if the kernel has no room for it
   */
  add(fd: number, generation: number): boolean {
    return this.#watch(fd, generation, (IN | PRI | OUT | RDHUP | EDGE_TRIGGERED) >>> 0) >= 0;
  }

  /**
   * Reports as long as the descriptor has unread bytes, or clients to accept.
   *
   * @returns false if the kernel has no room for it
   */
  addReader(fd: number, generation: number): boolean {
    return this.#watch(fd, generation, IN) >= 0;
  }

  /**
   * Waits for events and reports them.
   *
   * @param timeoutMs limit of the wait in milliseconds; -1: without limit
   * @throws Error
   */
  wait(timeoutMs: number, onEvent: OnEvent): void {
    const { size, data } = this.#layout;
    const events = this.#events;
    const count = check(this.#syscalls.epollWait(this.#fd, events, MAX_EVENTS, timeoutMs), "epoll_wait");
    for (let at = 0; at < count * size; at += size) {
      onEvent(events.readInt32LE(at + data), events.readUInt32LE(at), events.readUInt32LE(at + data + 4));
    }
  }

  /** Ends the watch of a descriptor that stays open. */
  remove(fd: number): void {
    this.#syscalls.epollControl(this.#fd, DELETE, fd, null);
  }

  close(): void {
    this.#syscalls.close(this.#fd);
  }

  #watch(fd: number, generation: number, events: number): number {
    const { data } = this.#layout;
    this.#event.writeUInt32LE(events, 0);
    this.#event.writeInt32LE(fd, data);
    this.#event.writeUInt32LE(generation, data + 4);
    return this.#syscalls.epollControl(this.#fd, ADD, fd, this.#event);
  }
}

/** Returns the result of a system call. @throws Error with the name of the call and of the error */
function check(result: number, call: string): number {
  if (result >= 0) return result;
  const [name = String(-result)] = Object.entries(codes).find(([, number]) => number === -result) ?? [];
  throw new Error(`${call}: ${name}`);
}
