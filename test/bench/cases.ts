import { setTimeout as delay } from "node:timers/promises";
import type { RemoteEndpoint } from "./control.ts";
import type { Endpoint } from "./endpoint.ts";
import { expectBroken, expectFin, expectFlow, expectReceived, expectReset, expectWhole } from "./expect.ts";
import { KIB, MIB } from "./payload.ts";

/** An established connection from a client through the relay to the server. */
export interface Link {
  readonly client: Endpoint;
  readonly server: RemoteEndpoint;
  readonly deadline: AbortSignal;
}

export interface RelayCase {
  readonly title: string;
  /** Throws a Mismatch if the connection behaves differently than without a relay. */
  play(link: Link): Promise<void>;
}

const PART = 100 * KIB;
const SLOW_READER_BYTES = 16 * MIB;
const SLOW_READER_PAUSE_MS = 300;
const NOTICE_MS = 5_000;

export const cases: readonly RelayCase[] = [
  {
    title: "half-close by client, answer",
    async play({ client, server, deadline }) {
      client.sendAndEnd(MIB);
      await expectReceived(server, MIB, deadline);
      await expectFin(server, deadline);
      await server.sendAndEnd(MIB);
      await expectWhole(client, MIB, deadline);
      await expectWhole(server, MIB, deadline);
    },
  },
  {
    title: "half-close by server, upload",
    async play({ client, server, deadline }) {
      await server.sendAndEnd(MIB);
      await expectReceived(client, MIB, deadline);
      await expectFin(client, deadline);
      client.sendAndEnd(MIB);
      await expectWhole(server, MIB, deadline);
      await expectWhole(client, MIB, deadline);
    },
  },
  {
    title: "idle, reset by client",
    async play({ client, server, deadline }) {
      client.reset();
      await expectReset(server, deadline);
      await expectReceived(server, 0, deadline);
    },
  },
  {
    title: "idle, reset by server",
    async play({ client, server, deadline }) {
      await server.reset();
      await expectReset(client, deadline);
      await expectReceived(client, 0, deadline);
    },
  },
  {
    title: "100 KiB down, reset by server",
    async play({ client, server, deadline }) {
      await server.send(PART);
      // A reset may overtake data in transit, so only data that arrived before it counts.
      await expectReceived(client, PART, deadline);
      await server.reset();
      await expectReset(client, deadline);
      await expectReceived(client, PART, deadline);
    },
  },
  {
    title: "100 KiB up, reset by client",
    async play({ client, server, deadline }) {
      client.send(PART);
      await expectReceived(server, PART, deadline);
      client.reset();
      await expectReset(server, deadline);
      await expectReceived(server, PART, deadline);
    },
  },
  {
    title: "client gone in mid-download",
    async play({ client, server, deadline }) {
      await server.flood();
      await expectFlow(client, MIB, deadline);
      client.reset();
      await expectBroken(server, AbortSignal.any([deadline, AbortSignal.timeout(NOTICE_MS)]));
    },
  },
  {
    title: "server gone in mid-upload",
    async play({ client, server, deadline }) {
      client.flood();
      await expectFlow(server, MIB, deadline);
      await server.reset();
      await expectReset(client, AbortSignal.any([deadline, AbortSignal.timeout(NOTICE_MS)]));
    },
  },
  {
    title: "both send and half-close at once",
    async play({ client, server, deadline }) {
      const answering = server.sendAndEnd(MIB);
      client.sendAndEnd(MIB);
      await answering;
      await expectWhole(client, MIB, deadline);
      await expectWhole(server, MIB, deadline);
    },
  },
  {
    title: "16 MiB to a slow reader",
    async play({ client, server, deadline }) {
      client.pause();
      await server.sendAndEnd(SLOW_READER_BYTES);
      await delay(SLOW_READER_PAUSE_MS);
      client.resume();
      await expectFin(client, deadline);
      client.end();
      await expectWhole(client, SLOW_READER_BYTES, deadline);
      await expectWhole(server, 0, deadline);
    },
  },
];
