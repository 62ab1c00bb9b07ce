/** Starts programs with posix_spawn(3), whose child borrows this process's memory until the exec instead of copying it. */
import { FfiError, type Libc } from "./libc.ts";

export interface SpawnCall {
  /** All arguments, from argv[0] on, and null. */
  readonly argv: readonly (string | null)[];
  /** The whole environment: `NAME=value`, and null. */
  readonly env: readonly (string | null)[];
  /** Default: the working directory of this process. */
  readonly cwd?: string | undefined;
  /** Sources of the child's descriptors 0, 1, …; undefined is /dev/null. The sources must not be among the results. */
  readonly descriptors: readonly (number | undefined)[];
  /** Further descriptors that the child must not inherit. Descriptors with close-on-exec need not be named. */
  readonly closed: readonly number[];
  /** Whether the program begins a session, or only a process group of this session. */
  readonly beginsSession: boolean;
}

export interface PosixSpawn {
  /**
   * Starts a program in a thread: the calling thread waits until the program is loaded, which takes long on a busy machine
   * or a slow disk. Resolves to its PID, or a negative error number.
   *
   * @param file path of the program; a relative path begins in `cwd`. It is not looked up in PATH.
   */
  readonly spawn: (file: string, call: SpawnCall) => Promise<number>;
  /** The calls that have not resolved. */
  readonly pending: ReadonlySet<PendingSpawn>;
}

/** A call that has not resolved. It shares memory with its thread, so it is of use without the event loop. */
export class PendingSpawn {
  /** Receives the PID. */
  readonly memory: Int32Array = new Int32Array(1);
  /** The path, with the NUL that ends it. */
  readonly file: Buffer;

  constructor(file: string) {
    this.file = Buffer.from(`${file}\0`);
  }

  /** 0 until the program was started, and if it cannot be started. */
  get pid(): number {
    return Atomics.load(this.memory, 0);
  }

  /** Empties the path, so that the call fails if it still waits for a thread. */
  cancel(): void {
    this.file[0] = 0;
  }
}

/** More than the 336 and 80 bytes of glibc's and musl's attributes and file actions, and the 128 of a signal set. */
const OPAQUE_BYTES = 1_024;
const O_RDWR = 2;
const POSIX_SPAWN_SETPGROUP = 0x02;
const POSIX_SPAWN_SETSIGDEF = 0x04;
const POSIX_SPAWN_SETSIGMASK = 0x08;
/** Known to glibc 2.26 and musl 1.1.22. */
const POSIX_SPAWN_SETSID = 0x80;

/** @throws FfiError if the C library lacks a function or a flag, such as posix_spawn_file_actions_addchdir_np */
export function posixSpawn({ find, findThreaded }: Libc): PosixSpawn {
  const spawn = findThreaded(
    "int posix_spawn(void *pid, const void *file, void *, void *, const char **, const char **)",
  );
  const initActions = find("int posix_spawn_file_actions_init(void *)");
  const destroyActions = find("int posix_spawn_file_actions_destroy(void *)");
  const addOpen = find("int posix_spawn_file_actions_addopen(void *, int, const char *, int, unsigned int)");
  const addDup = find("int posix_spawn_file_actions_adddup2(void *, int, int)");
  const addClose = find("int posix_spawn_file_actions_addclose(void *, int)");
  const addChdir = find("int posix_spawn_file_actions_addchdir_np(void *, const char *)");
  const newSession = attributesWith(POSIX_SPAWN_SETSID, { find });
  const newGroup = attributesWith(POSIX_SPAWN_SETPGROUP, { find });
  const pending = new Set<PendingSpawn>();
  /** Memory of calls that have ended. */
  const unused: Buffer[] = [];

  const begin = (actions: Buffer, { cwd, descriptors, closed }: SpawnCall): void => {
    initActions(actions);
    for (const fd of closed) addClose(actions, fd);
    descriptors.forEach((source, fd) => {
      if (source === undefined) addOpen(actions, fd, "/dev/null", O_RDWR, 0);
      else addDup(actions, source, fd);
    });
    if (cwd !== undefined) addChdir(actions, cwd);
  };

  const start: PosixSpawn["spawn"] = async (file, options) => {
    const actions = unused.pop() ?? Buffer.alloc(OPAQUE_BYTES);
    const call = new PendingSpawn(file);
    begin(actions, options);
    pending.add(call);
    try {
      const attributes = options.beginsSession ? newSession : newGroup;
      const error = await spawn(call.memory, call.file, actions, attributes, options.argv, options.env);
      return error === 0 ? call.pid : -error;
    } finally {
      pending.delete(call);
      destroyActions(actions);
      unused.push(actions);
    }
  };
  return { spawn: start, pending };
}

/**
 * Returns attributes: no blocked signal, and the default action of each signal, because Node ignores SIGPIPE.
 *
 * @param leader the flag of a new session or a new process group
 */
function attributesWith(leader: number, { find }: Pick<Libc, "find">): Buffer {
  const attributes = Buffer.alloc(OPAQUE_BYTES);
  find("int posix_spawnattr_init(void *)")(attributes);
  find("int posix_spawnattr_setsigmask(void *, const void *)")(attributes, Buffer.alloc(OPAQUE_BYTES));
  // sigfillset(3) would leave out the two signals that glibc reserves, and posix_spawn then ignores them in the child.
  const all = Buffer.alloc(OPAQUE_BYTES, 0xff);
  find("int posix_spawnattr_setsigdefault(void *, const void *)")(attributes, all);
  const flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | leader;
  if (find("int posix_spawnattr_setflags(void *, short)")(attributes, flags) !== 0) {
    throw new FfiError("posix_spawn of the C library cannot begin a session");
  }
  return attributes;
}
