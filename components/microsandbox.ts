import type * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import type { MicrosandboxArgs } from "./args";
import { type CheckedArgs, checkArgs, type Structure } from "./checked-args";
import { deploymentId, earlierNames, readState, recordedOf, type StateResources } from "./host/deployment";
import { DockerHost, type DockerHostArgs, publishAddress } from "./host/docker-host";
import { volumeNames } from "./host/engine-verdict";
import { KvmCheck } from "./host/kvm-check";
import { baseNameOf, imageNameOf } from "./host/names";
import { madeApiKey, requireKey } from "./server/api-key";
import { BootCheck } from "./server/boot-check";
import { Keys } from "./server/keys";
import { Protection } from "./server/protection";
import { PulledImages } from "./server/pulled-images";
import { Registries } from "./server/registries";
import { Server } from "./server/server";
import { kvmGroup } from "./server/server-user";
import { type ServerVolumes, Storage } from "./server/storage";
import { Tls } from "./server/tls";
import type { Transform } from "./server/transform";
import { Upgrade } from "./server/upgrade";
import { serverImage } from "./server-image";
import { egressVariable, hostRanges } from "./settings/egress";
import { endpointHost, endpointUrl, hostNames } from "./settings/endpoint";
import { hostMessage, namingHost } from "./settings/errors";
import { certificateWarning } from "./settings/given-certificate";
import { forProgram, settingsAreIn, withStack } from "./settings/lines-to-type";
import { GIB, MIB } from "./settings/values";

/** How commands reach the host of a server. */
export interface HostConnection {
  /** `local` or `ssh`. */
  kind: string;
  user?: string;
  address?: string;
  port?: number;
  /** Path of a private key file; the SSH agent and ~/.ssh/config are used when it is left out. */
  identityFile?: string;
  /** Path of a known_hosts file; the user's own is used when it is left out. */
  knownHostsFile?: string;
  /** Public keys of the host; the known_hosts files are used when it is left out. */
  hostKey?: string;
}

/** Where a server is. */
export interface ServerLocation {
  /** Name of its container. */
  container: string;
  connection: HostConnection;
}

/**
 * Options of a service: those of every component, and some for TypeScript programs only. A `docker` provider is used for
 * the container, the network and the volumes; it must connect to the engine of `host`.
 */
export interface MicrosandboxOptions extends pulumi.ComponentResourceOptions {
  /**
   * Prefix of all names on the host. Set it to keep the names of an existing deployment.
   * @default project, name and stack
   * @example "sandboxes-dev"
   */
  baseName?: string;
  /**
   * Changes the arguments of the resources on the host: labels, another network, other log drivers. The service's own
   * names, image, labels and mounts stay; the trial of an upgrade runs with the changes too.
   * @example { container: { dns: ["10.0.0.2"] }, volumes: (args) => ({ ...args, driver: "zfs" }) }
   */
  transform?: {
    container?: Transform<docker.ContainerArgs>;
    network?: Transform<docker.NetworkArgs>;
    volumes?: Transform<docker.VolumeArgs>;
  };
  /** Name of the host in error messages, if a program has several. */
  hostName?: string;
  /** @internal The key that services share which have none of their own. @default one for this service */
  madeKey?: pulumi.Output<string>;
  /** @internal The stack's state before this run, where several services look at it. @default read for this service */
  state?: Promise<StateResources>;
}

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
  /** CA certificate for clients to trust, PEM; empty without `tls.own`. */
  readonly authority: pulumi.Output<string>;
  /** Result of the KVM check. */
  readonly kvm: pulumi.Output<string>;
  /** Kernel release of the guest that the boot check started; empty unless `kvmCheck` is `boot`. */
  readonly guestKernel: pulumi.Output<string>;

  /** @param args the settings; `{}` is a service on this machine for testing */
  constructor(name: string, args: MicrosandboxArgs, opts: MicrosandboxOptions = {}) {
    super("microsandbox:index:Microsandbox", name, {}, opts);
    settingsAreIn("arguments");
    const { hostName } = opts;
    const deployment = deploymentId(name, this);
    const { structure, values, tlsNames } = checkArgs(args);
    this.warn(structure, values, hostName);
    const owner = { project: pulumi.getProject(), stack: pulumi.getStack() };
    const { baseName = baseNameOf(name, owner), transform } = opts;
    const recorded = pulumi
      .all([opts.state ?? readState(), earlierNames(opts.aliases)])
      .apply(([state, earlier]) => recordedOf(name, state, earlier));

    const host = new DockerHost(
      `${name}-host`,
      {
        ...hostArgs(structure, values, baseName),
        hostName,
        recorded,
        engine: this.getProvider("docker:index/container:Container"),
      },
      { parent: this },
    );
    const { connection, preflight } = host;
    const apiKey = this.keyOf(name, structure, values, opts.madeKey);
    const kvm =
      structure.kvmCheck === "off"
        ? undefined
        : new KvmCheck(`${name}-kvm`, { connection, preflight, hostName }, { parent: this });
    const verdict: pulumi.Output<unknown> = kvm ? kvm.report : host.preflight;
    // What is made on the host takes its name or its processor from here: nothing is made before each check has passed.
    const checked = pulumi
      .all([host.architecture, verdict])
      .apply(([architecture]) => ({ architecture, baseName }));
    const onHost = { parent: this, providers: { docker: host.engine } };
    const { architecture } = checked;
    const onEngine = { host, baseName: imageNameOf(baseName), architecture, recorded };
    const image = serverImage(`${name}-image`, structure, values, onEngine, this);
    const storage = new Storage(
      `${name}-storage`,
      {
        ...structure.volumes,
        deployment,
        baseName: checked.baseName,
        state: values.volumes.state,
        workspace: values.volumes.workspace,
        transform: transform?.volumes,
      },
      onHost,
    );
    const { egress, egressAllow } = values;
    const started = {
      ...values,
      ...{ deployment, baseName: checked.baseName, transform },
      ...{ privileged: structure.privileged, devMode: structure.devMode },
      volumes: storage,
      connection: host.connection,
      tun: host.preflight.apply(({ tun }) => tun),
      kvmGroup: structure.privileged
        ? undefined
        : host.preflight.apply((report) => namingHost(hostName, () => kvmGroup(report))),
      hasTls: structure.tls !== "none",
      hostNames: pulumi.all([values.host, tlsNames]).apply(([address, names]) => hostNames(address, names)),
      hasSwapLimit: host.preflight.apply(({ swapLimit }) => swapLimit),
      engineApi: host.preflight.apply(({ engine }) => engine?.api ?? ""),
      publishAddress: publishAddress({ kind: structure.hostKind, bindAddress: values.bindAddress }),
      egressPolicy: pulumi
        .all([egress, egressAllow])
        .apply(([level, allow]) => egressVariable({ egress: level, egressAllow: allow })),
    };
    const upgrade = new Upgrade(
      `${name}-upgrade`,
      {
        ...started,
        containerName: `${baseName}-server`,
        imageId: image.imageId,
        boot: structure.kvmCheck === "boot",
      },
      { parent: this },
    );
    const server = new Server(
      `${name}-server`,
      {
        ...started,
        imageId: upgrade.imageId,
        mtu: host.preflight.apply(({ mtu }) => mtu),
        hostRanges: host.preflight.apply(({ addresses }) => hostRanges(addresses)),
      },
      onHost,
    );
    this.container = server.container;
    this.network = server.network;
    this.volumes = storage.volumes;
    const inServer = { connection: host.connection, containerName: server.containerName };
    const afterServer = { parent: this, dependsOn: server.ready };
    const registries = structure.hasRegistries
      ? new Registries(
          `${name}-registries`,
          { ...inServer, settings: values.registries, containerId: server.containerId },
          afterServer,
        )
      : undefined;
    const more: pulumi.Resource[] = [];
    if (structure.images.length > 0) {
      const mirrors = values.registries.apply((each) => each.mirrors);
      const dependsOn = registries?.applied ?? server.ready;
      const { containerId } = server;
      const pulled = { ...inServer, containerId, images: structure.images, mirrors };
      more.push(new PulledImages(`${name}-images`, pulled, { parent: this, dependsOn }));
    }
    if (!structure.devMode) {
      const { keys } = values;
      more.push(
        new Keys(`${name}-key`, { ...inServer, apiKey, keys, containerId: server.containerId }, afterServer),
      );
    }
    const endpoint = pulumi
      .all([values.bindAddress, values.hostPort, values.host, tlsNames])
      .apply(([bindAddress, hostPort, address, names]) => ({
        names: [endpointHost({ bindAddress, host: address }), "127.0.0.1", "localhost", ...names],
        url: endpointUrl({ bindAddress, hostPort, host: address }, structure.tls, names),
      }));
    const tls =
      structure.tls === "none"
        ? undefined
        : new Tls(
            `${name}-tls`,
            {
              ...{ ...inServer, settings: values.tls, containerId: server.containerId },
              own: structure.tls === "own",
              authorityName: `${baseName} authority`,
              names: endpoint.names,
            },
            afterServer,
          );
    this.authority = tls?.authority ?? pulumi.output("");
    const { containerId } = server;
    const boot =
      kvm && structure.kvmCheck === "boot"
        ? new BootCheck(
            `${name}-boot`,
            { ...inServer, containerId, kvm: kvm.report.apply(({ details }) => details) },
            afterServer,
          )
        : undefined;
    this.guestKernel = boot?.guestKernel ?? pulumi.output("");
    upgrade.finish(boot ? [server.ready, boot] : [server.ready]);
    const parts = [host, kvm, image, storage, upgrade, server, registries, tls, boot];
    const all = [...parts.filter((part) => part !== undefined), ...more];
    new Protection(`${name}-protection`, { protect: structure.volumes.protect, all }, { parent: this });

    this.endpoint = pulumi.all([endpoint.url, (tls ?? server).ready.urn]).apply(([url]) => url);
    this.environment = this.endpoint.apply((url) => clientEnvironment(url, structure.devMode));
    this.apiKey = pulumi.secret(apiKey);
    this.server = pulumi
      .all([host.connection, server.containerName])
      .apply(([at, container]) => ({ container, connection: at }));
    this.kvm = kvm ? kvm.report.apply(({ message }) => message) : pulumi.output("not checked");
    this.registerOutputs({ endpoint: this.endpoint });
  }

  /** Says in each preview and up what is allowed and not good. */
  private warn(
    { privileged }: Structure,
    { tls }: CheckedArgs["values"],
    hostName: string | undefined,
  ): void {
    const say = (text: string) =>
      pulumi.log.warn(
        withStack(forProgram(hostName ? hostMessage(hostName, text) : text), pulumi.getStack()),
        this,
      );
    if (privileged)
      say(
        "The server is privileged: code that breaks out of its microVM is root on the host.\n" +
          "  to run it unprivileged: pulumi config set microsandbox:privileged false",
      );
    tls.apply((settings) => {
      const ending = certificateWarning(settings);
      if (ending) return say(`${ending.what}\n  ${ending.remedy.replaceAll("\n", "\n  ")}`);
    });
  }

  /** The key of the settings, or the one that is made; empty where there is neither. */
  private keyOf(
    name: string,
    { devMode, hasApiKey, hasKeys, takesMadeKey }: Structure,
    values: CheckedArgs["values"],
    shared: pulumi.Output<string> | undefined,
  ): pulumi.Input<string> {
    if (devMode) return "";
    if (hasApiKey) return values.apiKey.apply((key) => key ?? "");
    if (takesMadeKey) return shared ?? madeApiKey(`${name}-api-key`, !hasKeys, this);
    if (!hasKeys) requireKey([], undefined);
    return "";
  }
}

function hostArgs(
  { hostKind: kind, isNewHost: isNew, architecture, volumes }: Structure,
  values: CheckedArgs["values"],
  baseName: string,
): Omit<DockerHostArgs, "recorded"> {
  const { host, sshKeyFile, sshKnownHostsFile, sshHostKey, hostPort, bindAddress } = values;
  const whole = (unit: number) => (bytes: number) => Math.floor(bytes / unit);
  return {
    ...{ kind, isNew, host, sshKeyFile, sshKnownHostsFile, sshHostKey, hostPort, bindAddress, architecture },
    baseName,
    containerName: `${baseName}-server`,
    volumes: values.volumes.apply((given) => volumeNames(baseName, given)),
    emulated: {
      memoryMiB: values.emulatedMemory.apply(whole(MIB)),
      diskGiB: values.emulatedDisk.apply(whole(GIB)),
      keepDisk: volumes.keep,
    },
  };
}

/** The three variables of the official clients. Dev mode takes any key, but the clients insist on sending one. */
export function clientEnvironment(url: string, devMode: boolean): Record<string, string> {
  return {
    MSB_BACKEND: "cloud",
    MSB_API_URL: url,
    ...(devMode ? { MSB_API_KEY: "dev" } : {}),
  };
}
