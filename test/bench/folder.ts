import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Makes a folder that is removed with `owner`, or when this process ends. */
export function temporaryFolder(owner: AsyncDisposableStack): string {
  const folder = mkdtempSync(join(tmpdir(), "wakeport-bench-"));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  process.once("exit", remove);
  owner.defer(() => {
    process.off("exit", remove);
    remove();
  });
  return folder;
}
