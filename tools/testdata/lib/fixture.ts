// A service as the supervisor sees it, for its tests: answers /readyz, drains on SIGTERM, ends with its parent.
import { createServer } from "node:http";

/** The environment and the arguments tell it where to listen and how to misbehave. */
export function serve(port: number, env: NodeJS.ProcessEnv = process.env): void {
  if (env.FIXTURE_FAILS) process.exit(3);
  const server = createServer((request, response) => {
    response.statusCode = request.url === "/readyz" || request.url === "/env" ? 200 : 404;
    response.end(request.url === "/env" ? JSON.stringify(env) : "");
  });
  server.listen(port, env.HOST);
  const drain = () => server.close(() => process.exit(0));
  process.on("SIGTERM", env.FIXTURE_IGNORES_SIGTERM ? () => undefined : drain);
  process.on("disconnect", drain);
}
