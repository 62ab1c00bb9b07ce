/** Relays one exchange between local sockets, because a kernel or a sandbox may lack one of the system calls. */
import { messageOf } from "../errors.ts";
import type { RelayEnd } from "../net/relay.ts";
import { Core } from "./core.ts";
import { eventLayoutOf } from "./epoll.ts";
import { loadSyscalls, type Syscalls } from "./syscalls.ts";

const LIMIT_MS = 2_000;
/** More than the buffer of the pump, so that it splices. */
const BYTES = 512 * 1024;

/** Returns why the data plane cannot work here, or undefined. @param architecture the name that Node uses: `x64` */
export function dataPlaneProblem(platform: string, architecture: string): string | undefined {
  if (platform !== "linux") return `the platform is ${platform}, not linux`;
  if (eventLayoutOf(architecture) === undefined) return `the architecture ${architecture} is not supported`;
  try {
    return selfTest(loadSyscalls(), architecture);
  } catch (error) {
    return messageOf(error);
  }
}

/**
 * Sends bytes through a pair of sockets and back, and ends both directions.
 *
 * @returns the difference from the expected result, or undefined
 * @throws Error if a system call fails
 */
export function selfTest(syscalls: Syscalls, architecture: string): string | undefined {
  let end: RelayEnd | undefined;
  const core = new Core({ syscalls, architecture, onEnd: (pair) => (end = pair.end) });
  const [client, ofClient] = openPair(syscalls);
  const [server, ofServer] = openPair(syscalls);
  try {
    core.add({ slot: 0, client: ofClient, upstream: ofServer });
    const sent = Buffer.alloc(BYTES, "relay");
    const answered = exchange(core, syscalls, { from: client, to: server, sent });
    const returned = answered && exchange(core, syscalls, { from: server, to: client, sent });
    if (!returned) return "the self-test failed: bytes were lost or changed";
    core.turn(0);
    return end === "clean" ? undefined : `the self-test failed: its connection ended ${end ?? "never"}`;
  } finally {
    core.close();
    syscalls.close(client);
    syscalls.close(server);
  }
}

interface Exchange {
  readonly from: number;
  readonly to: number;
  readonly sent: Buffer;
}

/** Sends bytes and an end through the core. @returns whether they arrived unchanged */
function exchange(core: Core, syscalls: Syscalls, { from, to, sent }: Exchange): boolean {
  const received = Buffer.alloc(sent.length + 1);
  const deadline = performance.now() + LIMIT_MS;
  for (let sentBytes = 0, length = 0; performance.now() < deadline; core.turn(1)) {
    const unsent = sent.subarray(sentBytes);
    if (unsent.length > 0) sentBytes += Math.max(0, syscalls.send(from, unsent, unsent.length));
    if (unsent.length > 0 && sentBytes === sent.length) syscalls.shutdownWrite(from);
    for (;;) {
      const arrived = syscalls.recv(to, received.subarray(length), received.length - length);
      if (arrived === 0) return sent.equals(received.subarray(0, length));
      if (arrived < 0) break;
      length += arrived;
    }
  }
  return false;
}

function openPair(syscalls: Syscalls): readonly [number, number] {
  const opened = syscalls.socketPair();
  if (typeof opened === "number") throw new Error(`no local sockets can be opened (error ${-opened})`);
  return opened;
}
