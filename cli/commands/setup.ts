import { ensureBaseImage, ensureEmulationPackages, ensureEngine } from "../../setup/engine";
import { createReporter, type Reporter } from "../../setup/report";
import { plainPulumi } from "../backend";
import { emulatedArchitecture, hostsForSetup, openStack } from "../stack";

/** `npm run setup`: everything that deploying a stack needs on this machine, and nothing of the stack itself. */
export async function setup(asked?: string): Promise<void> {
  const report = createReporter();
  const { stack, backend } = await openStack(asked, report);
  await prepare(stack, report);
  const plain = plainPulumi(backend);
  if (plain) report.say(plain);
  report.say(`Ready. To deploy: npm run up -- --stack ${stack}`);
}

/** Makes what a stack needs on this machine; what is there is left alone. */
export async function prepare(stack: string, report: Reporter): Promise<void> {
  const hosts = hostsForSetup(stack);
  const engine = await ensureEngine(report);
  for (const host of hosts) {
    if (host.host === "emulated") await ensureEmulationPackages(report, emulatedArchitecture(host));
  }
  const images = hosts.map(({ registryPrefix, debianVersion }) => `${registryPrefix}debian:${debianVersion}`);
  for (const image of new Set(images)) {
    await ensureBaseImage(report, { image, platform: `linux/${engine.architecture}` });
  }
}
