import type { Command } from "commander";
import { acceptRestore, readAcceptance } from "../nats/mod.ts";
import { colour, note, print, printJson } from "./output.ts";
import type { Context } from "./program.ts";

/** `restored`, `restored accept`. */
export function addRestored(program: Command, { config, output, run }: Context): void {
  const group = program
    .command("restored")
    .description("when an operator last accepted a store that was restored from a backup")
    .option("--json", "print JSON")
    .action((flags: { json?: boolean }) =>
      run(async ({ connection }) => {
        const accepted = await readAcceptance(connection);
        const at = accepted && new Date(accepted.at).toISOString();
        if (flags.json) printJson(output, accepted ? { at, by: accepted.by } : null);
        else if (accepted === undefined) note(output, "no restore was ever accepted");
        else print(output, `${at} by ${accepted.by}`);
        return 0;
      }),
    );

  group
    .command("accept")
    .description(
      "say that the store is the newest there is, although more of it was seen: services go on with it",
    )
    .option("--by <name>", "who does it, as it is recorded", config.by)
    .action(({ by }: { by: string }) =>
      run(async (shop) => {
        await acceptRestore(shop, { at: Date.now(), by });
        note(output, colour(output, "green", "accepted; services go on with this store", output.err));
        note(output, "analytics has counted what is gone: npm run ops -- replay analytics --from start");
        return 0;
      }),
    );
}
