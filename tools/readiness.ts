import { get } from "node:http";

const probeTimeoutMs = 1_000;
/** What is read of an answer. The longest of ours names ten checks. */
const maxAnswerChars = 4_096;
/** The check that says that an operator has set a service to be down. It has started all the same. */
const setToFail = "faults";

/**
 * Asks a `/readyz` of ours, or `/healthz` of nats-server, what keeps the process from its work.
 *
 * A service that an operator has set to be down (`npm run ops -- fault`) is not ready, and has started: a fault is to disturb
 * its work, and not the start of the shop.
 *
 * @returns Undefined if nothing does, else what it waits for, in words that fit after "waits for".
 */
export async function askReadiness(url: string): Promise<string | undefined> {
  const answer = await request(url);
  if (answer === undefined) return "its first answer";
  if (answer.status === 200) return undefined;
  const { checks, error } = parse(answer.body);
  const failing = Object.keys(checks).filter((name) => checks[name] === false && name !== setToFail);
  if (failing.length > 0) return failing.join(", ");
  return checks[setToFail] === false ? undefined : (error ?? `an answer other than ${answer.status}`);
}

interface Body {
  /** Of ours. */
  readonly checks: Readonly<Record<string, unknown>>;
  /** Of nats-server. */
  readonly error: string | undefined;
}

function parse(text: string): Body {
  try {
    const { checks, error } = JSON.parse(text) as { checks?: unknown; error?: unknown };
    return {
      checks: typeof checks === "object" && checks !== null ? { ...checks } : {},
      error: typeof error === "string" ? error : undefined,
    };
  } catch {
    // Somebody else's answer. Its status is all that is known.
    return { checks: {}, error: undefined };
  }
}

function request(url: string): Promise<{ status: number; body: string } | undefined> {
  return new Promise((resolve) => {
    // Without an agent: a connection kept open would delay the drain of the one who answers.
    const asked = get(url, { agent: false, timeout: probeTimeoutMs }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (text) => {
        if (body.length < maxAnswerChars) body += text;
      });
      response.on("error", () => resolve(undefined));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
    });
    asked.on("timeout", () => asked.destroy());
    asked.on("error", () => resolve(undefined));
  });
}
