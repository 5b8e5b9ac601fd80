import { parseKvmReport } from "../components/host/kvm-report";
import { script } from "../components/host/scripts";
import { exec } from "../setup/exec";

/** Whether this machine's KVM can run guests, as far as can be told without booting one, and the reason. */
export async function localKvm(): Promise<{ usable: boolean; reason: string; remedy: string }> {
  const { stdout } = await exec("sh", ["-s"], { input: script("host/kvm-check") });
  const report = parseKvmReport(stdout);
  return { usable: report.ok && !report.guestsUnlikely, reason: report.message, remedy: report.remedy ?? "" };
}
