import { createReporter } from "../../setup/report";
import { ensureTools } from "../../setup/tools";
import { openForPaths, pathChange } from "../config-path";
import { pulumiWith } from "../pulumi";
import { stackFile } from "../stack";

/** `npm run pulumi -- ARGS`: any pulumi command with this project's tools, backend and passphrase. */
export async function passThrough(args: string[]): Promise<void> {
  const report = createReporter();
  const pulumi = pulumiWith(await ensureTools(report));
  const change = pathChange(args);
  if (change && change.settings.length > 0) {
    const selected = async () => pulumi.read(["stack", "--show-name"]).catch(() => undefined);
    const stack = change.stack ?? (await selected())?.trim();
    for (const setting of stack ? openForPaths(stackFile(stack), change.settings) : [])
      report.say(
        `${setting} was JSON in ${stackFile(stack ?? "")}: it is YAML now, and keeps its other fields.`,
      );
  }
  process.exitCode = await pulumi.run(args);
}
