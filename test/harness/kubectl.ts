import { dirname } from "node:path";
import { exec } from "../../setup/exec";
import { createReporter } from "../../setup/report";
import { ensureClusterTools } from "../../setup/tools";

/** The folder of this machine's kubectl, else of one that is got (minutes). */
export async function kubectlFolder(): Promise<string> {
  const { stdout } = await exec("sh", ["-c", "command -v kubectl"], { reject: false });
  const found = String(stdout ?? "").trim();
  return dirname(found || (await ensureClusterTools(["kubectl"], createReporter())).kubectl);
}
