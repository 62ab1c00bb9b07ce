import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

/** Creates a file with this content; disposing removes it. */
export async function temporaryFile(name: string, content: string): Promise<{ path: string } & AsyncDisposable> {
  const folder = await mkdtemp(path.join(tmpdir(), "wakeport-test-"));
  const file = path.join(folder, name);
  await writeFile(file, content);
  return { path: file, [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
}
