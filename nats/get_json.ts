import { get as getHttp } from "node:http";
import { get as getHttps } from "node:https";

/** The server's monitoring lists its streams in some kilobytes; whatever is longer is not it. */
const MAX_CHARS = 4 * 1024 * 1024;

/**
 * The JSON that a GET is answered with. Every service asks once when it starts, for which `fetch()` would be a tenth of a
 * second's work: it is loaded when it is called first.
 *
 * @param options.statuses Those whose body is read. Default: 200 alone.
 * @throws {Error} If there is no answer within `timeoutMs`, or one of another status, or it is no JSON.
 */
export async function getJson(
  url: string,
  { timeoutMs, statuses = [200] }: { timeoutMs: number; statuses?: readonly number[] },
): Promise<unknown> {
  const get = url.startsWith("https:") ? getHttps : getHttp;
  const signal = AbortSignal.timeout(timeoutMs);
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const asked = get(url, { signal }, (response) => {
    let text = "";
    response.setEncoding("utf8");
    response.on("data", (part) => {
      text += part;
      if (text.length > MAX_CHARS) asked.destroy(new Error(`more than ${MAX_CHARS} characters`));
    });
    response.on("error", reject);
    response.on("end", () => {
      if (statuses.includes(response.statusCode ?? 0)) resolve(text);
      else reject(new Error(`it answers ${response.statusCode}`));
    });
  });
  asked.on("error", reject);
  return JSON.parse(await promise);
}
