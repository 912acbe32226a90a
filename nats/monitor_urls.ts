/**
 * Base URLs of the servers' monitoring, without a slash at their end.
 * @param monitorUrl Comma-separated. Undefined: there are none.
 */
export function monitorUrlsOf(monitorUrl: string | undefined): string[] {
  return monitorUrl?.split(",").map((url) => url.trim().replace(/\/$/, "")) ?? [];
}
