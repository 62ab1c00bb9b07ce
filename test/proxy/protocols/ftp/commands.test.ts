import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { readCommand } from "../../../../src/proxy/protocols/ftp/commands.ts";
import { Replies } from "../../../../src/proxy/protocols/ftp/replies.ts";

suite("readCommand()", () => {
  const cases: readonly (readonly [line: string, verb: string, argument: string | undefined])[] = [
    ["USER anonymous\r\n", "USER", "anonymous"],
    ["quit\n", "QUIT", ""],
    ["\r\n", "", ""],
    ["  port 1,2,3,4,5,6\r\n", "PORT", "1,2,3,4,5,6"],
    ["PORT\t1,2,3,4,5,6\r\n", "PORT", "1,2,3,4,5,6"],
    ["PORT1,2,3,4,5,6\r\n", "PORT", undefined],
    ["RETR my port file\r\n", "RETR", "my port file"],
    ["\xff\xf4\xff\xf2ABOR\r\n", "ABOR", ""],
    ["RETR \xff\xffy\r\n", "RETR", "y"],
    // Some servers find a PORT in these lines.
    ["\xff\xf4PORT 1,2,3,4,5,6\r\n", "PORT", undefined],
    ["\xff\xfbPORT 1,2,3,4,5,6\r\n", "PORT", undefined],
    ["\xff\xfbxPORT 1,2,3,4,5,6\r\n", "PORT", undefined],
    ["PO\0RT 1,2,3,4,5,6\r\n", "PORT", undefined],
    ["P\0O\xff\xfb\x01RT 1,2,3,4,5,6\r\n", "PORT", undefined],
    ["NOOP\rEPRT |1|1.2.3.4|5|\r\n", "EPRT", undefined],
    ["PORT 1,2,3,4,5,6\0\r\n", "PORT", undefined],
    ["LP\xff\xf1RT 6\r\n", "LPRT", undefined],
    ["PO\rRT 1,2,3,4,5,6\r\n", "PORT", undefined],
  ];
  for (const [line, verb, argument] of cases) {
    test(JSON.stringify(line), () => assert.deepEqual(readCommand(line), { verb, argument }));
  }
});

suite("Replies", () => {
  test("read() finds the last line of each reply", () => {
    const replies = new Replies();
    const read = (text: string): string | undefined => {
      const reply = replies.read(text);
      return reply && `${reply.code} ${reply.isOneLine}`;
    };
    assert.equal(read("220 hello\r\n"), "220 true");
    assert.equal(read("200\r\n"), "200 true");
    assert.equal(read("211-features\r\n"), undefined);
    assert.equal(read(" 227 (1,2,3,4,5,6)\r\n"), undefined);
    assert.equal(read("227 (1,2,3,4,5,6)\r\n"), undefined);
    assert.equal(read("211-more\r\n"), undefined);
    assert.equal(read("211end\r\n"), undefined);
    assert.equal(read("211 end\r\n"), "211 false");
    assert.equal(read("unknown\r\n"), undefined);
    assert.equal(read("2200 unknown\r\n"), undefined);
    assert.equal(read("227 ok\n"), "227 true");
  });
});
