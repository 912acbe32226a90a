import { existsSync } from "node:fs";
import { cp, mkdir, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));

/**
 * Puts an empty database of PGlite where `DATA_DIR/analytics` is `folder`, as the service would make it itself. To make one takes
 * ten seconds of CPU, and to copy one half a second: it is made once for each version of PGlite, and kept in `.cache`.
 */
export async function providePGlite(folder: string): Promise<void> {
  const template = await madeOnce();
  await mkdir(folder, { recursive: true });
  await cp(template, join(folder, "pglite"), { recursive: true });
}

async function madeOnce(): Promise<string> {
  const packageFile = join(root, "node_modules", "@electric-sql", "pglite", "package.json");
  const { version } = JSON.parse(await readFile(packageFile, "utf8"));
  const template = join(root, ".cache", "pglite", version);
  if (existsSync(template)) return template;
  const { PGlite } = await import("@electric-sql/pglite");
  const making = `${template}.${process.pid}`;
  await mkdir(dirname(template), { recursive: true });
  await rm(making, { recursive: true, force: true });
  await (await PGlite.create({ dataDir: making })).close();
  try {
    await rename(making, template);
  } catch (cause) {
    // Another test file was faster.
    if (!existsSync(template)) throw cause;
    await rm(making, { recursive: true });
  }
  return template;
}
