import * as pulumi from "@pulumi/pulumi";
import type { Connection } from "./host/connection";
import { DockerHost, type DockerHostArgs, publishAddress } from "./host/docker-host";
import { KvmCheck } from "./host/kvm-check";
import { SandboxImage } from "./image/sandbox-image";
import { madeApiKey, requireKey, takesMadeKey } from "./server/api-key";
import { BootCheck } from "./server/boot-check";
import { Keys } from "./server/keys";
import { PulledImages } from "./server/pulled-images";
import { Registries } from "./server/registries";
import { Server } from "./server/server";
import { kvmGroup } from "./server/server-user";
import { Storage } from "./server/storage";
import { Tls } from "./server/tls";
import { Upgrade } from "./server/upgrade";
import { egressVariable } from "./settings/egress";
import { endpointHost, endpointUrl, hostNames } from "./settings/endpoint";
import { onHost as namingHost } from "./settings/errors";
import { hasRegistrySettings } from "./settings/registries";
import { type HostSettings, type MicrosandboxArgs, parseSettings } from "./settings/stack-settings";
import { hasTls } from "./settings/tls";
import { GIB, MIB } from "./settings/values";

/**
 * A private sandbox service on one host: the host itself, its KVM check, the server's image, two volumes and
 * the server. All arguments are optional; docs/configuration.md describes them.
 *
 * @example
 * const sandboxes = new Microsandbox("sandboxes", { hostPort: 5556, memoryLimit: "8G" });
 * export const endpoint = sandboxes.endpoint;
 */
export class Microsandbox extends pulumi.ComponentResource {
  /** URL of the server; known to work once the deployment is done. */
  readonly endpoint: pulumi.Output<string>;
  /** The variables that point the official SDKs and the msb CLI to this server. */
  readonly environment: pulumi.Output<Record<string, string>>;
  /** The API key, a secret: the setting `apiKey` or the one that was made; empty in dev mode, and where there are only `keys`. */
  readonly apiKey: pulumi.Output<string>;
  /** Where the server runs, for `npm run sandbox`. */
  readonly server: pulumi.Output<{ container: string; connection: Connection }>;
  /** Certificate of the stack's own authority, for clients to trust; empty without `tls.own`. */
  readonly authority: pulumi.Output<string>;
  /** What the KVM check found. */
  readonly kvm: pulumi.Output<string>;
  /** Kernel of the guest that the boot check started; empty where the check is not `boot`. */
  readonly guestKernel: pulumi.Output<string>;

  /**
   * @param args the settings; `hostName` where errors have to tell the host from others, `refused` where a look at it
   * before Pulumi has found why nothing may be done there, `madeKey` where several services share the key that is made
   */
  constructor(
    name: string,
    { hostName, refused, madeKey, ...args }: MicrosandboxArgs & InFleet = {},
    opts?: pulumi.ComponentResourceOptions,
  ) {
    super("microsandbox:index:Microsandbox", name, {}, opts);
    const settings = parseSettings(args, { source: "code" });
    const baseName = `${name}-${pulumi.getStack()}`;

    const host = new DockerHost(
      `${name}-host`,
      { ...hostArgs(settings, baseName), hostName, refused },
      { parent: this },
    );
    const { connection, preflight } = host;
    const apiKey = this.keyOf(name, settings, madeKey);
    const kvm =
      settings.kvmCheck === "off"
        ? undefined
        : new KvmCheck(`${name}-kvm`, { connection, preflight, hostName }, { parent: this });
    const verdict: pulumi.Output<unknown> = kvm ? kvm.report : host.preflight;
    // What is made on the host takes its name or its processor from here: nothing is made before each check has passed.
    const checked = pulumi
      .all([host.architecture, verdict])
      .apply(([architecture]) => ({ architecture, baseName }));
    const onHost = { parent: this, providers: { docker: host.engine } };
    const image = new SandboxImage(
      `${name}-image`,
      {
        ...settings,
        baseName,
        architecture: checked.architecture,
        transfer: host.imageLoader && {
          connection: host.connection,
          loader: host.imageLoader,
          sparing: settings.host === "emulated",
        },
        registry: imageRegistry(settings),
      },
      { parent: this, providers: { docker: host.builder } },
    );
    const storage = new Storage(
      `${name}-storage`,
      { baseName: checked.baseName, ...settings.volumes },
      onHost,
    );
    const started = {
      ...settings,
      volumes: storage,
      connection: host.connection,
      tun: host.preflight.apply(({ tun }) => tun),
      kvmGroup: settings.privileged
        ? undefined
        : host.preflight.apply((report) => namingHost(hostName, () => kvmGroup(report))),
      hasTls: hasTls(settings.tls),
      hostNames: hostNames(settings),
      egressPolicy: host.preflight.apply(({ addresses }) => egressVariable(settings, addresses)),
    };
    const upgrade = new Upgrade(
      `${name}-upgrade`,
      {
        ...started,
        containerName: `${baseName}-server`,
        imageId: image.imageId,
        boot: settings.kvmCheck === "boot",
      },
      { parent: this },
    );
    const server = new Server(
      `${name}-server`,
      {
        ...started,
        baseName: checked.baseName,
        imageId: upgrade.imageId,
        engineApi: host.preflight.apply(({ engine }) => engine?.api ?? ""),
        hostCpus: host.preflight.apply(({ engine }) => engine?.cpus ?? 1),
        publishAddress: publishAddress(settings),
      },
      onHost,
    );
    const inServer = { connection: host.connection, containerName: server.containerName };
    const afterServer = { parent: this, dependsOn: server.ready };
    const registries = hasRegistrySettings(settings.registries)
      ? new Registries(
          `${name}-registries`,
          { ...inServer, settings: settings.registries, containerId: server.containerId },
          afterServer,
        )
      : undefined;
    if (settings.images.length > 0) {
      const { mirrors } = settings.registries;
      const dependsOn = registries?.applied ?? server.ready;
      const args = { ...inServer, images: settings.images, mirrors };
      new PulledImages(`${name}-images`, args, { parent: this, dependsOn });
    }
    if (!settings.devMode) {
      const { keys } = settings;
      new Keys(`${name}-key`, { ...inServer, apiKey, keys, containerId: server.containerId }, afterServer);
    }
    const tls = hasTls(settings.tls)
      ? new Tls(
          `${name}-tls`,
          {
            ...{ ...inServer, settings: settings.tls, containerId: server.containerId },
            authorityName: `${baseName} authority`,
            names: [endpointHost(settings), "127.0.0.1", "localhost"],
          },
          afterServer,
        )
      : undefined;
    this.authority = tls?.authority ?? pulumi.output("");
    const bootArgs = { ...inServer, containerId: server.containerId };
    const boot =
      settings.kvmCheck === "boot" ? new BootCheck(`${name}-boot`, bootArgs, afterServer) : undefined;
    this.guestKernel = boot?.guestKernel ?? pulumi.output("");
    upgrade.finish(boot ? [server.ready, boot] : [server.ready]);

    this.endpoint = (tls ?? server).ready.urn.apply(() => endpointUrl(settings));
    this.environment = this.endpoint.apply((url) => clientEnvironment(url, settings.devMode));
    this.apiKey = pulumi.secret(apiKey);
    this.server = pulumi
      .all([host.connection, server.containerName])
      .apply(([connection, container]) => ({ container, connection }));
    this.kvm = kvm ? kvm.report.apply(({ message }) => message) : pulumi.output("not checked");
    this.registerOutputs({ endpoint: this.endpoint });
  }

  /** The key of the settings, or the one that is made; empty where there is neither. */
  private keyOf(name: string, settings: HostSettings, shared?: pulumi.Output<string>): pulumi.Input<string> {
    if (settings.devMode) return "";
    if (settings.apiKey !== undefined) return settings.apiKey;
    if (!takesMadeKey(settings)) {
      requireKey(settings.keys, undefined);
      return "";
    }
    return shared ?? madeApiKey(`${name}-api-key`, [settings], this);
  }
}

/** What a service among several is given besides its settings. */
interface InFleet {
  /** Name of its host, for errors. */
  hostName?: string;
  /** Why nothing may be done there. */
  refused?: string;
  /** The key that the services share which have none of their own. @default one for this service */
  madeKey?: pulumi.Output<string>;
}

function hostArgs(settings: HostSettings, baseName: string): DockerHostArgs {
  const { volumes, emulatedMemory, emulatedDisk } = settings;
  return {
    ...settings,
    baseName,
    containerName: `${baseName}-server`,
    emulated: {
      memoryMiB: Math.floor(emulatedMemory / MIB),
      diskGiB: Math.floor(emulatedDisk / GIB),
      keepDisk: volumes.keep,
    },
  };
}

function imageRegistry({ registry, registryUser: user, registryPassword: password }: HostSettings) {
  return registry === undefined ? undefined : { address: registry, user, password };
}

/** The three variables of the official clients. Dev mode takes any key, but the clients insist on sending one. */
export function clientEnvironment(url: string, devMode: boolean): Record<string, string> {
  return {
    MSB_BACKEND: "cloud",
    MSB_API_URL: url,
    ...(devMode ? { MSB_API_KEY: "dev" } : {}),
  };
}
