import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { obtainPromtool } from "../tools/promtool.ts";

const root = fileURLToPath(new URL("../", import.meta.url));
const prometheus = join(root, "deploy", "prometheus");
/** The first time it may have to be fetched. */
const FETCH_MS = 600_000;

interface Alert {
  alert: string;
  annotations: { summary: string; description: string; runbook_url: string };
  labels: { severity: string };
}
interface Case {
  alertname: string;
  exp_alerts: unknown[];
}

const alerts: Alert[] = (await read("rules", "shop.yml")).groups.flatMap(
  ({ rules }: { rules: Alert[] }) => rules,
);

async function read(...path: string[]) {
  return parse(await readFile(join(prometheus, ...path), "utf8"));
}

describe("promtool", () => {
  let promtool: string;
  beforeAll(async () => {
    promtool = await obtainPromtool();
  }, FETCH_MS);

  async function run(...args: string[]): Promise<string> {
    const { stdout, stderr } = await promisify(execFile)(promtool, args, { cwd: prometheus });
    return stdout + stderr;
  }

  it("finds nothing wrong with the rules and with the configuration that names them", async () => {
    expect(await run("check", "rules", "rules/shop.yml")).toContain(`${alerts.length} rules found`);
    expect(await run("check", "config", "prometheus.yml")).toContain(`${alerts.length} rules found`);
  });

  it("sees each alert fire when it should, and not when it should not", async () => {
    const tests = await readdir(join(prometheus, "rules_test"));
    expect(await run("test", "rules", ...tests.map((name) => `rules_test/${name}`))).toContain("SUCCESS");
  });
});

describe("every alert", async () => {
  const cases: Case[] = (await read("rules_test", "shop_test.yml")).tests.flatMap(
    ({ alert_rule_test }: { alert_rule_test: Case[] }) => alert_rule_test,
  );
  const page = await readFile(join(root, "docs", "operations.md"), "utf8");
  const anchors = [...page.matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) =>
    title
      .toLowerCase()
      .replaceAll(" ", "-")
      .replaceAll(/[^\w-]/g, ""),
  );

  it.each(alerts)("says what to do, and is tested: $alert", ({ alert, annotations, labels }) => {
    const { summary, description, runbook_url } = annotations;
    expect(summary && description).toBeTruthy();
    expect(["warning", "critical"]).toContain(labels.severity);
    const [path, anchor] = runbook_url.split("#");
    expect(path).toBe("docs/operations.md");
    expect(anchors).toContain(anchor);
    expect(cases.some(({ alertname, exp_alerts }) => alertname === alert && exp_alerts.length > 0)).toBe(
      true,
    );
  });
});
