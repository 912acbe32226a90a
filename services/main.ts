// Becomes a service: `node services/main.ts <name>`. Node's permissions are arguments of its command line, and this is
// how an image gets them from the same place as `npm start`. The process is replaced, not started from: no parent is
// left behind that would have to pass on signals.
import { dirname } from "node:path";
import { commandOf, serviceNamed } from "./command.ts";

const root = dirname(import.meta.dirname);
// Where paths in variables are relative to.
process.chdir(root);
const { args, env } = commandOf(serviceNamed(process.argv[2]), { root, environment: process.env });
if (process.execve === undefined) throw new Error("Cannot replace a process on this system: use npm start");
process.execve(process.execPath, [process.execPath, ...args], env);
