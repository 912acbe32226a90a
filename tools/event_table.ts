import { readdir, readFile } from "node:fs/promises";
import { topology } from "../nats/mod.ts";

/** One subject: what its contract says of it, and who reads it. */
interface Row {
  subject: string;
  meaning: string;
  readers: string[];
}

/**
 * Every message of the shop that one service sends to another, as a Markdown table: the subject and its meaning from the
 * comment over the message in `proto/` (`<service>`: each that has it), the consumers from the topology.
 */
export async function eventTable(proto: URL): Promise<string> {
  const files = (await readdir(proto, { recursive: true })).filter((name) => name.endsWith(".proto"));
  const texts = await Promise.all(files.map((name) => readFile(new URL(name, proto), "utf8")));
  const rows = texts.flatMap(toRow).filter(({ readers }) => readers.length > 0);
  const order = topology.streams.map(({ prefix }) => prefix);
  const rank = ({ subject }: Row) => order.indexOf(subject.split(".")[0] ?? "");
  rows.sort((a, b) => rank(a) - rank(b) || a.subject.localeCompare(b.subject));
  const lines = rows.map(
    ({ subject, meaning, readers }) => `| \`${subject}\` | ${meaning} | ${readers.join(", ")} |`,
  );
  return ["| subject | meaning | read by |", "|---|---|---|", ...lines].join("\n");
}

/** @throws {RangeError} If `text` has no `<!-- name -->` … `<!-- /name -->`. */
export function insertBetweenMarkers(text: string, name: string, content: string): string {
  const [begin, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new RangeError(`Cannot insert ${name}: there is no ${begin} … ${end}`);
  return `${text.slice(0, from + begin.length)}\n${content}\n${text.slice(to)}`;
}

/** The comment `// order.created.<order>: a customer …` over a message, up to its first full stop. */
function toRow(text: string): Row[] {
  const comment = /^\/\/ ([a-z_]+|<service>)\.([a-z_]+)(\.<[^:]+>): ((?:.|\n\/\/)*)\nmessage /m.exec(text);
  if (comment === null) return [];
  const [, owner = "", kind = "", id = "", words = ""] = comment;
  const meaning = words.replaceAll("\n//", "").trim();
  const owners = owner === "<service>" ? topology.streams.map(({ prefix }) => prefix) : [owner];
  return owners.map((prefix) => {
    const contract = `${prefix}.${kind}`;
    const readers = topology.consumers
      .filter(({ contracts }) => contracts.some(({ subject }) => subject === contract))
      .map(({ service }) => service);
    return { subject: `${contract}${id}`, meaning, readers };
  });
}
