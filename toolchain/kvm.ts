import { parseKvmReport } from "../components/kvm-report";
import { script } from "../components/scripts";
import { exec } from "./exec";

/** Whether this machine's KVM can run guests, as far as can be told without booting one, and the reason. */
export async function localKvm(): Promise<{ usable: boolean; reason: string; remedy: string }> {
  const { stdout } = await exec("sh", ["-s"], { input: script("kvm-check") });
  const report = parseKvmReport(stdout);
  return { usable: report.ok && !report.guestsUnlikely, reason: report.message, remedy: report.remedy ?? "" };
}
