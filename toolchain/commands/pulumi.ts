import { pulumiWith } from "../pulumi";
import { createReporter } from "../report";
import { ensureTools } from "../tools";

/** `npm run pulumi -- ARGS`: any pulumi command with this project's tools, backend and passphrase. */
export async function passThrough(args: string[]): Promise<void> {
  const pulumi = pulumiWith(await ensureTools(createReporter()));
  process.exitCode = await pulumi.run(args);
}
