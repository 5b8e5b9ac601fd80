import { VisibleError } from "../settings/visible-error";
import { withVariables } from "./connection";
import { foreignObject, type Owner } from "./ownership";
import { explainPreflight, type PreflightReport, parsePreflightReport } from "./preflight-report";
import { script } from "./scripts";

/** What the preflight checks for a service: its names on the host, and the port that must be free. */
export interface PreflightArgs {
  containerName: string;
  /** Name of its network. */
  baseName: string;
  volumes: VolumeNames;
  hostPort: number;
  /** Address on the host that the port is published on. */
  publishAddress: string;
}

export interface VolumeNames {
  state: string;
  workspace: string;
}

/** The script that says whether a host's engine can take the service, with its variables. */
export function preflightScript(args: PreflightArgs): string {
  const variables = {
    NAME: args.containerName,
    NETWORK: args.baseName,
    VOLUMES: Object.values(args.volumes).join(" "),
    HOST_PORT: args.hostPort,
    BIND_ADDRESS: args.publishAddress,
  };
  return withVariables(variables, script("host/preflight"));
}

/** The volumes that a service has on its host. @param given names of the setting `volumes` */
export const volumeNames = (baseName: string, given: Partial<VolumeNames> = {}): VolumeNames => ({
  state: given.state ?? `${baseName}-state`,
  workspace: given.workspace ?? `${baseName}-workspace`,
});

/** The address the port is published on. An emulated host is reached through its network card; loopback is outside. */
export function publishAddressOf(kind: string, bindAddress: string): string {
  return kind === "emulated" ? "10.0.2.15" : bindAddress;
}

/** @throws VisibleError with what to type, where the preflight says no or the processor is not the expected one */
export function usableEngine(stdout: string, architecture: "auto" | "amd64" | "arm64"): PreflightReport {
  const preflight = parsePreflightReport(stdout);
  if (!preflight.ok) throw new VisibleError(explainPreflight(preflight));
  if (architecture !== "auto" && architecture !== preflight.engine?.arch) {
    throw new VisibleError(
      `architecture is ${architecture}, but the host's engine runs on ${preflight.engine?.arch}.\n` +
        "  to use what the engine has: pulumi config set microsandbox:architecture auto",
    );
  }
  return preflight;
}

/** @throws VisibleError where a foreign object on the host has a name that the stack needs */
export function refuseForeign(
  { objects }: PreflightReport,
  { volumes, ...owner }: Omit<Owner, "settingOf"> & { volumes: VolumeNames },
): void {
  const settingOf = (name: string) => `volumes.${name === volumes.state ? "state" : "workspace"}`;
  const reason = foreignObject(objects, { ...owner, settingOf });
  if (reason) throw new VisibleError(reason);
}
