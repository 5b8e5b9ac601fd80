import type * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import type { MicrosandboxArgs } from "./args";
import { Protection } from "./server/protection";
import type { ServerVolumes } from "./server/storage";
import { checkedHost } from "./service/checked-host";
import type { MicrosandboxOptions, ServerLocation } from "./service/options";
import { runningServer } from "./service/running-server";
import { serverFiles } from "./service/server-files";
import { serviceOf } from "./service/service";
import { warn } from "./service/warnings";
import { settingsAreIn } from "./settings/message-commands";

/**
 * A private sandbox service on one host: the connection to the host, the KVM check, the server's image, two volumes and
 * the server. All arguments are optional; docs/configuration.md describes them.
 *
 * @example
 * const sandboxes = new Microsandbox("sandboxes", { hostPort: 5556, memoryLimit: "8G" });
 * export const endpoint = sandboxes.endpoint;
 */
export class Microsandbox extends pulumi.ComponentResource {
  /** URL of the server, which is ready once the deployment is done. */
  readonly endpoint: pulumi.Output<string>;
  /** Environment variables for the official SDKs and the msb CLI to use this server. */
  readonly environment: pulumi.Output<Record<string, string>>;
  /** The API key, a secret: the setting `apiKey` or the generated one; empty in dev mode, and if only `keys` is set. */
  readonly apiKey: pulumi.Output<string>;
  /** The server's container. */
  readonly container: docker.Container;
  /** The container's own network. */
  readonly network: docker.Network;
  /** The two volumes: the server's state, and /workspace. */
  readonly volumes: ServerVolumes;
  /** Where the server runs, for `npm run sandbox`. */
  readonly server: pulumi.Output<ServerLocation>;
  /** CA certificate for clients to trust, PEM; empty without `tls.generate`. */
  readonly caCertificate: pulumi.Output<string>;
  /** Result of the KVM check. */
  readonly kvm: pulumi.Output<string>;
  /** Kernel release of the guest that the boot check started; empty unless `kvmCheck` is `boot`. */
  readonly guestKernel: pulumi.Output<string>;

  /** @param args the settings; `{}` is a service on this machine for testing */
  constructor(name: string, args: MicrosandboxArgs, opts: MicrosandboxOptions = {}) {
    super("microsandbox:index:Microsandbox", name, {}, opts);
    settingsAreIn("arguments");
    const service = serviceOf(name, args, opts, this);
    const { structure } = service;
    warn(service);
    const checked = checkedHost(service);
    const { host, kvm } = checked;
    const { image, storage, upgrade, server } = runningServer(service, checked);
    const { apiKey, endpoint, tls, boot, resources } = serverFiles(service, checked, server);
    upgrade.finish(boot ? [server.ready, boot] : [server.ready]);
    const all = [host, ...(kvm ? [kvm] : []), image, storage, upgrade, server, ...resources];
    new Protection(`${name}-protection`, { protect: structure.volumes.protect, all }, { parent: this });

    this.container = server.container;
    this.network = server.network;
    this.volumes = storage.volumes;
    this.endpoint = endpoint;
    this.environment = endpoint.apply((url) => clientEnvironment(url, structure.devMode));
    // That there is none is no secret.
    this.apiKey = apiKey === "" ? pulumi.output("") : pulumi.secret(apiKey);
    this.server = pulumi
      .all([host.connection, server.containerName])
      .apply(([connection, container]) => ({ container, connection }));
    this.caCertificate = tls?.authority ?? pulumi.output("");
    this.kvm = kvm ? kvm.report.apply(({ message }) => message) : pulumi.output("not checked");
    this.guestKernel = boot?.guestKernel ?? pulumi.output("");
    this.registerOutputs({ endpoint: this.endpoint });
  }
}

/** The three variables of the official clients. Dev mode takes any key, but the clients insist on sending one. */
export function clientEnvironment(url: string, devMode: boolean): Record<string, string> {
  return {
    MSB_BACKEND: "cloud",
    MSB_API_URL: url,
    ...(devMode ? { MSB_API_KEY: "dev" } : {}),
  };
}
