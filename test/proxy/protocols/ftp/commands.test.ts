import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { isUrgent, readCommand, wholeCommand } from "../../../../src/proxy/protocols/ftp/commands.ts";
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
    // What one server takes for a PORT, and another does not.
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

suite("what is said with urgency", () => {
  const bytes = (text: string): Buffer => Buffer.from(text, "latin1");

  test("is whole without its newline, and nothing else is", () => {
    for (const line of ["ABOR\r", "abor\r", "\xf4\xff\xf2ABOR\r", "STAT\r", "QUIT\r"]) {
      assert.ok(isUrgent(bytes(line)), JSON.stringify(line));
      assert.equal(wholeCommand(bytes(line)).toString("latin1"), `${line.replace(/^[\xf0-\xff]*/, "")}\n`);
    }
    for (const line of ["", "ABOR", "ABO\r", "NOOP\r", "STAT a\r", "RETR ABOR\r", "ABORT\r"]) {
      assert.ok(!isUrgent(bytes(line)), JSON.stringify(line));
    }
  });

  test("loses its marks, of which one may be missing", () => {
    const known = ["\xff\xf4\xff\xf2ABOR\r\n", "\xf4\xff\xf2ABOR\r\n", "\xff\xf4\xffABOR\r\n", "\xff\xf4\xf2ABOR\r\n"];
    for (const line of known) assert.equal(wholeCommand(bytes(line)).toString("latin1"), "ABOR\r\n");
    assert.equal(wholeCommand(bytes("\xff\xf4\xffSTAT a\r\n")).toString("latin1"), "STAT a\r\n");
    for (const line of ["ABOR\r\n", "RETR \xff\xffy\r\n", "\xffRETR ABOR\r\n", "\xff\xf4PORT 1,2,3,4,5,6\r\n"]) {
      assert.equal(wholeCommand(bytes(line)).toString("latin1"), line);
    }
  });
});

suite("Replies", () => {
  test("end with the code that they began with", () => {
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
    assert.equal(read("what?\r\n"), undefined);
    assert.equal(read("2200 what?\r\n"), undefined);
    assert.equal(read("227 ok\n"), "227 true");
  });
});
