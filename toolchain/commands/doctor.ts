import { canInstallPackages, emulationPackages, inspectEngine, missingPackages } from "../engine";
import { localKvm } from "../kvm";
import { createReporter } from "../report";
import { chooseStack, emulatedArchitecture, settingsForSetup } from "../stack";
import { inspectTools } from "../tools";

/** One finding: `stops` means that `up` would fail, `mends` that it would put it right by itself. */
interface Finding {
  verdict: "ok" | "mends" | "stops";
  what: string;
  remedy?: string;
}

/** `npm run doctor`: what is present and what is missing. Read-only. Sets exit code 1 if `up` would fail. */
export async function doctor(asked?: string): Promise<void> {
  const report = createReporter({ write: console.log });
  const stack = await chooseStack(asked, report);
  const findings = [...(await tools()), await engine(), await kvm(stack), ...(await emulation(stack))];

  const marks = { ok: "✓", mends: "•", stops: "✗" };
  for (const { verdict, what, remedy } of findings) {
    report.say(`${marks[verdict]} ${what}${remedy ? `\n    ${remedy.replaceAll("\n", "\n    ")}` : ""}`);
  }
  const stopped = findings.some(({ verdict }) => verdict === "stops");
  report.say(
    stopped ? "\n`npm run up` would fail: see ✗ above." : `\nTo deploy: npm run up -- --stack ${stack}`,
  );
  process.exitCode = stopped ? 1 : 0;
}

async function tools(): Promise<Finding[]> {
  return (await inspectTools()).map(({ name, version, present, where, remedy }) => ({
    verdict: present ? "ok" : "mends",
    what: `${name} ${version}: ${where}`,
    remedy,
  }));
}

async function engine(): Promise<Finding> {
  const state = await inspectEngine();
  if (state.answers) return { verdict: "ok", what: `Docker engine ${state.version} (${state.architecture})` };
  const what = `Docker engine: ${state.reason}`;
  if (await canInstallPackages())
    return { verdict: "mends", what, remedy: "`npm run up` installs and starts one." };
  return { verdict: "stops", what, remedy: "Install and start Docker, then run this again." };
}

async function kvm(stack: string): Promise<Finding> {
  const { host } = settingsForSetup(stack);
  if (host !== "local") return { verdict: "ok", what: `KVM is checked on the host (${host}) by every up` };
  const { usable, reason, remedy } = await localKvm();
  return { verdict: usable ? "ok" : "stops", what: `KVM: ${reason}`, remedy: usable ? undefined : remedy };
}

async function emulation(stack: string): Promise<Finding[]> {
  const settings = settingsForSetup(stack);
  if (settings.host !== "emulated") return [];
  const missing = await missingPackages(emulationPackages(emulatedArchitecture(settings)));
  if (missing.length === 0) return [{ verdict: "ok", what: "Packages for the emulated host" }];
  const installable = await canInstallPackages();
  return [
    {
      verdict: installable ? "mends" : "stops",
      what: `Packages for the emulated host are missing: ${missing.join(" ")}`,
      remedy: installable ? "`npm run up` installs them." : `sudo apt-get install ${missing.join(" ")}`,
    },
  ];
}
