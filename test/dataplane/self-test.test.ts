import assert from "node:assert/strict";
import { arch } from "node:process";
import { suite, test } from "node:test";
import { dataPlaneProblem, selfTest } from "../../src/dataplane/self-test.ts";
import { loadSyscalls } from "../../src/dataplane/syscalls.ts";

suite("the self-test of the data plane", () => {
  test("passes on this machine", () => {
    assert.equal(dataPlaneProblem("linux", arch), undefined);
  });

  test("names another platform and an unknown architecture", () => {
    assert.equal(dataPlaneProblem("darwin", "arm64"), "the platform is darwin, not linux");
    assert.equal(dataPlaneProblem("linux", "ia32"), "the architecture ia32 is not supported");
  });

  test("fails if a system call does not work", () => {
    const forbidden = { ...loadSyscalls(), splice: () => -1 };
    assert.match(selfTest(forbidden, arch) ?? "", /^the self-test failed: /);
  });

  test("fails if bytes are changed", () => {
    const syscalls = loadSyscalls();
    const changing = {
      ...syscalls,
      recv: (fd: number, buffer: Uint8Array, length: number) => {
        const received = syscalls.recv(fd, buffer, length);
        if (received > 0) buffer[0] = 0;
        return received;
      },
    };
    assert.equal(selfTest(changing, arch), "the self-test failed: bytes were lost or changed");
  });
});
