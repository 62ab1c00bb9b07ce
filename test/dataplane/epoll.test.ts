import assert from "node:assert/strict";
import { arch } from "node:process";
import { suite, test } from "node:test";
import { Epoll, eventLayoutOf, IN, OUT } from "../../src/dataplane/epoll.ts";
import { loadSyscalls } from "../../src/dataplane/syscalls.ts";

suite("epoll events", () => {
  test("have the layout of the architecture", () => {
    // From the ABI: the structure is packed on x86-64 only.
    assert.deepEqual(eventLayoutOf("x64"), { size: 12, data: 4 });
    assert.deepEqual(eventLayoutOf("arm64"), { size: 16, data: 8 });
    assert.equal(eventLayoutOf("ia32"), undefined);
  });

  test("contain the descriptor, the events and the generation", () => {
    const syscalls = loadSyscalls();
    const opened = syscalls.socketPair();
    if (typeof opened === "number") throw new Error("no socket pair");
    const [watched, other] = opened;
    const epoll = new Epoll(syscalls, arch);
    const seen: number[][] = [];
    assert.ok(epoll.add(watched, 0xfffffff0));
    syscalls.write(other, Buffer.from("x"), 1);
    epoll.wait(0, (...event) => seen.push(event));
    assert.deepEqual(seen, [[watched, IN | OUT, 0xfffffff0]]);
    epoll.wait(0, (...event) => seen.push(event));
    assert.equal(seen.length, 1);
    epoll.close();
    for (const fd of opened) syscalls.close(fd);
  });

  test("an unknown architecture is an error", () => {
    assert.throws(() => new Epoll(loadSyscalls(), "mips"), /the architecture mips is not supported/);
  });
});
