/**
 * The system calls of the data plane. Each returns a negative error number instead of setting errno, and none blocks
 * except `epollWait`. Numbers and structures are those of Linux on x86-64 and arm64, which differ only in `epoll_event`.
 */
import { constants } from "node:os";
import { loadLibc } from "../ffi/libc.ts";
import { KEEP_ALIVE_MS } from "../net/dial.ts";
import { familyOf } from "./socket-address.ts";

export const { EAGAIN } = constants.errno;
const { EINPROGRESS, EINTR } = constants.errno;

const AF_UNIX = 1;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const TCP_KEEPIDLE = 4;
const SO_KEEPALIVE = 9;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
const F_DUPFD_CLOEXEC = 1030;
const F_SETPIPE_SZ = 1031;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const SHUT_WR = 1;
const SOL_SOCKET = 1;
const SO_LINGER = 13;
const FIONREAD = 0x541b;
const SIOCOUTQ = 0x5411;
/**
 * SPLICE_F_MOVE and SPLICE_F_NONBLOCK. Without SPLICE_F_MORE, which would hold back the last bytes for 200 ms. Splice
 * has no MSG_NOSIGNAL: Node ignores SIGPIPE.
 */
const SPLICE_FLAGS = 3;
const EPOLL_CLOEXEC = 0o2000000;

export interface DescriptorPair {
  readonly read: number;
  readonly write: number;
}

export interface Syscalls {
  /** Receives into a buffer. @returns the number of bytes, 0 at the end of the stream */
  recv(fd: number, buffer: Uint8Array, length: number): number;
  /** Sends the first `length` bytes of a buffer. @returns the number of sent bytes */
  send(fd: number, buffer: Uint8Array, length: number): number;
  /** Moves at most `length` bytes; one of the two is a pipe. @returns the number of moved bytes, 0 at the end of the stream */
  splice(from: number, to: number, length: number): number;
  /** Opens a pipe. The kernel may refuse the size, and the default size serves as well. @returns an error number if none can be opened */
  pipe(bytes: number): DescriptorPair | number;
  /**
   * Accepts a connection of a listening socket in non-blocking mode.
   *
   * @param peer receives the client's address: see socket-address.ts
   * @returns the descriptor of the connection
   */
  accept(fd: number, peer: Uint8Array): number;
  /**
   * Begins to connect to an address. The socket is connected when it can be written, and has failed when it reports an
   * error.
   *
   * @param address see socket-address.ts
   * @returns the descriptor of the socket
   */
  connect(address: Uint8Array): number;
  /** Sets keep-alive and TCP_NODELAY. The connections that a listening socket accepts inherit them. */
  setConnectionOptions(fd: number): void;
  /** Opens two connected sockets, for tests of the data plane. */
  socketPair(): readonly [number, number] | number;
  shutdownWrite(fd: number): number;
  /** Closes a descriptor. If `isReset`, the peer of the socket gets a reset, and unsent bytes are discarded. */
  close(fd: number, isReset?: boolean): void;
  /** Returns the number of bytes that the peer has not acknowledged, a FIN included; 0 after an error. */
  sendQueue(fd: number): number;
  /** Returns the number of received bytes that were not read; 0 after an error. */
  receiveQueue(fd: number): number;
  /** Returns another descriptor of the same file. */
  duplicate(fd: number): number;
  read(fd: number, buffer: Uint8Array, length: number): number;
  write(fd: number, buffer: Uint8Array, length: number): number;
  epollCreate(): number;
  epollControl(epoll: number, operation: number, fd: number, event: Uint8Array | null): number;
  /** Blocks for `timeoutMs` milliseconds at most; -1: without limit. @returns the number of events */
  epollWait(epoll: number, events: Uint8Array, maximum: number, timeoutMs: number): number;
}

let loaded: Syscalls | undefined;

/**
 * Loads the system calls once for each thread.
 *
 * @throws FfiError if the C library cannot be called
 */
export function loadSyscalls(): Syscalls {
  loaded ??= load();
  return loaded;
}

function load(): Syscalls {
  const { find, errno } = loadLibc();
  const recv = find("long recv(int, void*, size_t, int)");
  const send = find("long send(int, void*, size_t, int)");
  const splice = find("long splice(int, void*, int, void*, size_t, uint)");
  const pipe2 = find("int pipe2(void*, int)");
  const socketpair = find("int socketpair(int, int, int, void*)");
  // Declared with three parameters: a variadic call costs 120 ns more and passes them in the same registers.
  const fcntl = find("int fcntl(int, int, int)");
  const ioctl = find("int ioctl(int, ulong, void*)");
  const shutdown = find("int shutdown(int, int)");
  const setsockopt = find("int setsockopt(int, int, int, void*, uint)");
  const close = find("int close(int)");
  const socket = find("int socket(int, int, int)");
  const connect = find("int connect(int, void*, uint)");
  const accept4 = find("int accept4(int, void*, void*, int)");
  const read = find("long read(int, void*, size_t)");
  const write = find("long write(int, void*, size_t)");
  const epollCreate1 = find("int epoll_create1(int)");
  const epollCtl = find("int epoll_ctl(int, int, int, void*)");
  const epollWait = find("int epoll_wait(int, void*, int, int)");

  const two = Buffer.alloc(8);
  const linger = Buffer.from(Int32Array.of(1, 0).buffer);
  const on = Buffer.from(Int32Array.of(1).buffer);
  const keepIdle = Buffer.from(Int32Array.of(KEEP_ALIVE_MS / 1_000).buffer);
  const descriptors = (): readonly [number, number] => [two.readInt32LE(0), two.readInt32LE(4)];
  const checked = (result: number): number => (result < 0 ? -errno() : result);
  const queue = (fd: number, request: number): number => (ioctl(fd, request, two) === 0 ? two.readInt32LE(0) : 0);

  const setConnectionOptions = (fd: number): void => {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, on, on.length);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, on, on.length);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, keepIdle, keepIdle.length);
  };

  return {
    recv: (fd, buffer, length) => checked(recv(fd, buffer, length, MSG_DONTWAIT)),
    send: (fd, buffer, length) => checked(send(fd, buffer, length, MSG_DONTWAIT | MSG_NOSIGNAL)),
    splice: (from, to, length) => checked(splice(from, null, to, null, length, SPLICE_FLAGS)),
    pipe: (bytes) => {
      const result = checked(pipe2(two, O_NONBLOCK | O_CLOEXEC));
      if (result < 0) return result;
      const [reading, writing] = descriptors();
      fcntl(writing, F_SETPIPE_SZ, bytes);
      return { read: reading, write: writing };
    },
    accept: (fd, peer) => {
      two.writeInt32LE(peer.length);
      return checked(accept4(fd, peer, two, SOCK_NONBLOCK | SOCK_CLOEXEC));
    },
    connect: (address) => {
      const fd = checked(socket(familyOf(address), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      if (fd < 0) return fd;
      setConnectionOptions(fd);
      const result = checked(connect(fd, address, address.length));
      if (result >= 0 || result === -EINPROGRESS) return fd;
      close(fd);
      return result;
    },
    setConnectionOptions,
    socketPair: () => {
      const result = checked(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, two));
      return result < 0 ? result : descriptors();
    },
    shutdownWrite: (fd) => checked(shutdown(fd, SHUT_WR)),
    close: (fd, isReset = false) => {
      if (isReset) setsockopt(fd, SOL_SOCKET, SO_LINGER, linger, linger.length);
      close(fd);
    },
    sendQueue: (fd) => queue(fd, SIOCOUTQ),
    receiveQueue: (fd) => queue(fd, FIONREAD),
    duplicate: (fd) => checked(fcntl(fd, F_DUPFD_CLOEXEC, 0)),
    read: (fd, buffer, length) => checked(read(fd, buffer, length)),
    write: (fd, buffer, length) => checked(write(fd, buffer, length)),
    epollCreate: () => checked(epollCreate1(EPOLL_CLOEXEC)),
    epollControl: (epoll, operation, fd, event) => checked(epollCtl(epoll, operation, fd, event)),
    epollWait: (epoll, events, maximum, timeoutMs) => {
      const count = checked(epollWait(epoll, events, maximum, timeoutMs));
      return count === -EINTR ? 0 : count;
    },
  };
}
