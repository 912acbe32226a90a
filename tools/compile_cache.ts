// Keeps what Node has compiled of the programs on the command line, whose start takes half as long by that: `node --import`
// loads this before it loads them. It is nobody's who may not write the project's folder. Services have caches of their own
// (`nodeArguments()` in services/mod.ts).
import { enableCompileCache } from "node:module";
import { join } from "node:path";

enableCompileCache(join(import.meta.dirname, "..", ".cache", "compile", "programs"));
