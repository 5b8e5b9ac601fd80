import { execa } from "execa";
import { parseKvmReport } from "../components/kvm-report";
import { script } from "../components/scripts";

/** Whether this machine's KVM can run guests, as far as can be told without booting one, and the reason. */
export async function localKvm(): Promise<{ usable: boolean; reason: string; remedy: string }> {
  const { stdout } = await execa("sh", ["-s"], { input: script("kvm-check") });
  const report = parseKvmReport(stdout);
  return { usable: report.ok && !report.guestsUnlikely, reason: report.message, remedy: report.remedy ?? "" };
}
