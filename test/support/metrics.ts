export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** What a service answers at `/metrics`. */
export interface Scrape {
  readonly families: ReadonlyMap<string, { name: string; help: string; type: string }>;
  readonly samples: readonly Sample[];
}

/**
 * Prometheus' text format, as far as our services write it.
 * @throws {SyntaxError} For a line that is none of it.
 */
export async function scrape(url: string): Promise<Scrape> {
  const response = await fetch(`${url}/metrics`);
  if (!response.ok) throw new Error(`Cannot read ${url}/metrics: it answers ${response.status}`);
  const families = new Map<string, { name: string; help: string; type: string }>();
  const samples: Sample[] = [];
  for (const line of (await response.text()).split("\n")) {
    if (line === "") continue;
    const [, kind, about = "", text = ""] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? [];
    if (kind !== undefined) {
      const family = families.get(about) ?? { name: about, help: "", type: "" };
      families.set(about, { ...family, ...(kind === "HELP" ? { help: text } : { type: text }) });
      continue;
    }
    const [, name = "", labels = "", value = ""] = /^([a-z_0-9]+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    if (name === "") throw new SyntaxError(`Cannot read a line of ${url}/metrics: ${line}`);
    const pairs = [...labels.matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/g)].map(([, label = "", text = ""]) => [
      label,
      text,
    ]);
    samples.push({ name, labels: Object.fromEntries(pairs), value: Number(value) });
  }
  return { families, samples };
}

/** The metrics that a PromQL expression reads, in order. */
export function metricsNamedIn(expression: string): string[] {
  const bare = expression
    .replace(/\{[^}]*\}|\[[^\]]*\]/g, " ")
    .replace(/\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)/g, " ")
    .replace(/\boffset\s+\w+/g, " ");
  const words = bare.matchAll(/(?<![\w.$])[a-zA-Z_]\w*(?!\w|\s*\()/g);
  return [...words].map(([word]) => word).filter((word) => !["and", "or", "unless", "bool"].includes(word));
}
