import * as pulumi from "@pulumi/pulumi";
import type { MicrosandboxArgs } from "./args";
import { readState } from "./host/deployment";
import { Microsandbox } from "./microsandbox";
import { madeApiKey, takesMadeKey } from "./server/api-key";
import { DEFAULT_HOST, resourceName } from "./settings/hosts";
import { settingsAreIn } from "./settings/message-commands";
import type { HostSettings } from "./settings/schema";
import { formatSize } from "./settings/values";
import { setMessage } from "./settings/visible-error";

export { SERVICE } from "./settings/hosts";

/**
 * One service on each host, deployed in parallel. They are independent: each has resources of its own, and a failure on one
 * host affects only its resources. The host `default` has the names of a stack with a single host.
 *
 * @param name first part of the names of all resources
 * @example const services = deployHosts("sandboxes", readStackSettings());
 */
export function deployHosts(name: string, hosts: Record<string, HostSettings>): Record<string, Microsandbox> {
  settingsAreIn("configuration");
  const isSingle = Object.keys(hosts).join() === DEFAULT_HOST;
  if (!isSingle) shortenFailures();
  const keyless = Object.values(hosts).filter(takesMadeKey);
  const needsKey = keyless.some(({ keys }) => keys.length === 0);
  const madeKey = keyless.length > 0 ? madeApiKey(`${name}-api-key`, needsKey) : undefined;
  const state = readState();
  const services = Object.entries(hosts).map(([host, settings]) => {
    const opts = { hostName: isSingle ? undefined : host, madeKey, state };
    return [host, new Microsandbox(resourceName(name, host), asArgs(settings), opts)] as const;
  });
  return Object.fromEntries(services);
}

/** Checked settings as args: sizes are text there. */
function asArgs(settings: HostSettings): MicrosandboxArgs {
  const { memoryLimit, memoryReservation, emulatedMemory, emulatedDisk } = settings;
  return {
    ...settings,
    memoryLimit: formatSize(memoryLimit),
    memoryReservation: formatSize(memoryReservation),
    emulatedMemory: formatSize(emulatedMemory),
    emulatedDisk: formatSize(emulatedDisk),
  };
}

/**
 * The outputs of a stack. Of its only host:
 * - `endpoint`: URL of the server,
 * - `environment`: variables to export, so that the official SDKs and the msb CLI use this server,
 * - `apiKey`: the API key, a secret (`pulumi stack output apiKey --show-secrets`), empty in dev mode,
 * - `server`: container of the server and how to reach its host, for `npm run sandbox`,
 * - `kvm`: result of the KVM check on the host,
 * - `guestKernel`: kernel release of the guest that the boot check started, if `kvmCheck` is `boot`,
 * - `caCertificate`: CA certificate for clients to trust, if `tls.generate` is true (`authority` is an older name of it).
 *
 * Of several hosts: `endpoints` and `apiKeys` by host, and all outputs in `hosts`. A host that failed is left out.
 */
export function stackOutputs(services: Record<string, Microsandbox>): Record<string, pulumi.Output<unknown>> {
  const all = Object.values(services);
  const single = all.length === 1 ? all[0] : undefined;
  const ofSingle = single && { ...outputsOf(single), apiKey: single.apiKey };
  if (Object.keys(services).join() === DEFAULT_HOST) return { ...ofSingle };
  const hosts = working(services, (service) => pulumi.output(outputsOf(service)));
  return {
    ...ofSingle,
    hosts,
    endpoints: hosts.apply((ready) =>
      Object.fromEntries(Object.entries(ready).map(([host, { endpoint }]) => [host, endpoint])),
    ),
    apiKeys: pulumi.secret(working(services, ({ apiKey }) => apiKey)),
  };
}

function outputsOf({ endpoint, environment, server, kvm, guestKernel, caCertificate }: Microsandbox) {
  return { endpoint, environment, server, kvm, guestKernel, caCertificate, authority: caCertificate };
}

/** Something of each host by its name; a host that failed is left out. */
function working<T>(
  services: Record<string, Microsandbox>,
  read: (service: Microsandbox) => pulumi.Output<T>,
): pulumi.Output<Record<string, T>> {
  const entries = Object.entries(services).map(([host, service]) =>
    pulumi.recover(
      read(service).apply((value): [string, T][] => [[host, value]]),
      (): [string, T][] => [],
    ),
  );
  return pulumi.all(entries).apply((found) => Object.fromEntries(found.flat() as [string, T][]));
}

let shortened = false;

/**
 * The engine reports a resource that it could not create. What depends on it fails in the program: that is shortened to one
 * line, as for a `RunError`, instead of an unhandled exception with a stack trace.
 */
function shortenFailures(): void {
  if (shortened) return;
  shortened = true;
  process.prependListener("unhandledRejection", (error) => {
    const resource =
      error instanceof Error && /resource (\S+) \[\S+\] failed to register$/.exec(error.message)?.[1];
    if (!resource) return;
    setMessage(error, `Resources that depend on ${resource} were skipped: see its error.`);
    Object.assign(error, { __pulumiRunError: true });
  });
}
