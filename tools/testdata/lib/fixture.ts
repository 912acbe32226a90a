// A service as the supervisor sees it, for its tests: answers /readyz, drains on SIGTERM, ends with its parent.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

/** The environment and the arguments tell it where to listen and how to misbehave. */
export function serve(port: number, env: NodeJS.ProcessEnv = process.env): void {
  if (env.FIXTURE_FAILS) process.exit(3);
  const server = createServer((request, response) => {
    const [path, file] = request.url?.split("?file=") ?? [];
    const failing = path === "/readyz" ? env.FIXTURE_FAILING_CHECK : undefined;
    response.statusCode = path === "/readyz" || path === "/env" || path === "/read" ? 200 : 404;
    if (failing) {
      response.statusCode = 503;
      response.end(JSON.stringify({ checks: { nats: true, [failing]: false } }));
    } else response.end(path === "/env" ? JSON.stringify(env) : path === "/read" ? read(file) : "");
  });
  server.listen(port, env.HOST);
  const drain = () => server.close(() => process.exit(0));
  process.on("SIGTERM", env.FIXTURE_IGNORES_SIGTERM ? () => undefined : drain);
  process.on("disconnect", drain);
}

/** The content of a file, or why it cannot be read. */
function read(file = ""): string {
  try {
    return readFileSync(decodeURIComponent(file), "utf8");
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? "";
  }
}
