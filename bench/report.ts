import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { markdownTable } from "markdown-table";
import type { Facts } from "./machine.ts";

/** What a benchmark found, for people and for programs. */
export interface Result {
  /** Headline of its section. */
  readonly title: string;
  /** What was measured and how, a sentence each. */
  readonly settings: readonly string[];
  /** Versions besides those that every benchmark has. */
  readonly versions: Facts;
  /** The figures: markdown, tables for the most part. */
  readonly body: string;
  /** The figures for `--json`. */
  readonly data: unknown;
  /** Pictures that the body shows, by file name: they are written beside the document. Default: none. */
  readonly files?: Readonly<Record<string, string>>;
  /** Why the figures are not to be relied upon. The command ends with 1 if there are any. */
  readonly problems: readonly string[];
}

/** When, where and with what a benchmark ran. */
export interface Setting {
  readonly date: Date;
  readonly command: string;
  readonly machine: Facts;
  readonly versions: Facts;
}

/** The first row is the head. The first column is aligned left, all others right. */
export function table(rows: readonly (readonly string[])[]): string {
  const align = (rows[0] ?? []).map((_, column) => (column === 0 ? "l" : "r"));
  return markdownTable(rows, { align });
}

/** Three significant digits: more than that is noise here. */
export function number(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return "–";
  const digits = value === 0 ? 0 : Math.max(0, Math.min(3, 2 - Math.floor(Math.log10(Math.abs(value)))));
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** A number of things. */
export function count(value: number): string {
  return value.toLocaleString("en");
}

/** One benchmark's section. */
export function section(result: Result, setting: Setting): string {
  const { title, settings, body, problems } = result;
  const versions = { ...setting.versions, ...result.versions };
  return [
    `## ${title}`,
    `${setting.date.toISOString().slice(0, 16).replace("T", " ")} UTC, \`${setting.command}\``,
    ...(problems.length > 0 ? [`**Not to be relied upon:**\n\n${list(problems)}`] : []),
    body,
    `### Setting\n\n${list([
      ...Object.entries(setting.machine).map(([name, value]) => `${name}: ${value}`),
      `versions: ${named(versions)}`,
      ...settings,
    ])}`,
  ].join("\n\n");
}

/** `hono 4.13.19, undici 7.30.2`. */
export function named(facts: Facts): string {
  return Object.entries(facts)
    .map(([name, value]) => `${name} ${value}`)
    .join(", ");
}

function list(lines: readonly string[]): string {
  return lines.map((line) => `- ${line}`).join("\n");
}

const intro = `# Benchmarks

Written by \`npm run bench\`, each section by the run that its first line tells. On another machine the figures are others;
what compares well are those of one run.`;

const opening = (key: string) => `<!-- bench:${key} -->`;
const closing = (key: string) => `<!-- /bench:${key} -->`;

/** `document` with the section of `key` replaced or added, in the order of `keys`; those of other keys stay as they are. */
export function replaceSection(
  document: string,
  change: { key: string; text: string; keys: readonly string[] },
): string {
  const sections = new Map(change.keys.map((key) => [key, sectionOf(document, key)]));
  sections.set(change.key, change.text);
  const parts = [...sections].flatMap(([key, text]) =>
    text === undefined ? [] : [`${opening(key)}\n${text}\n${closing(key)}`],
  );
  return `${[intro, ...parts].join("\n\n")}\n`;
}

function sectionOf(document: string, key: string): string | undefined {
  const from = document.indexOf(opening(key));
  const to = document.indexOf(closing(key));
  if (from < 0 || to < from) return undefined;
  return document.slice(from + opening(key).length, to).trim();
}

/** Replaces one section of the file, which is made if it is not there. */
export function writeSection(path: string, change: Parameters<typeof replaceSection>[1]): void {
  const document = existsSync(path) ? readFileSync(path, "utf8") : "";
  writeFileSync(path, replaceSection(document, change));
}
