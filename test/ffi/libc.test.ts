import assert from "node:assert/strict";
import { constants } from "node:os";
import { suite, test } from "node:test";
import { FfiError, loadLibc } from "../../src/ffi/libc.ts";

suite("the C library", () => {
  test("a function is called with its parameters", () => {
    assert.equal(loadLibc().find("int abs(int)")(-7), 7);
  });

  test("errno of a failed call", () => {
    const { find, errno } = loadLibc();
    assert.equal(find("int close(int)")(-1), -1);
    assert.equal(errno(), constants.errno.EBADF);
  });

  test("an unknown function is an error with its prototype", () => {
    assert.throws(
      () => loadLibc().find("int no_such_function(int)"),
      (error) => {
        assert.ok(error instanceof FfiError);
        assert.match(error.message, /the C library has no "int no_such_function\(int\)"/);
        return true;
      },
    );
  });
});
