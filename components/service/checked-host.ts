import * as pulumi from "@pulumi/pulumi";
import { DockerHost, type DockerHostArgs } from "../host/docker-host";
import { volumeNames } from "../host/engine-verdict";
import { KvmCheck } from "../host/kvm-check";
import { GIB, MIB } from "../settings/values";
import type { Service } from "./service";

/** The host of a service, and what is known once it has passed all checks. */
export interface CheckedHost {
  host: DockerHost;
  /** Undefined where the settings want no check. */
  kvm: KvmCheck | undefined;
  /** Processor of the host. What is made there takes it or the name from here: nothing is made before each check has passed. */
  architecture: pulumi.Output<"amd64" | "arm64">;
  /** Prefix of names on the host, see `architecture`. */
  baseName: pulumi.Output<string>;
}

/** Connects to the host and checks, in each preview and up, that a server can run there. */
export function checkedHost(service: Service): CheckedHost {
  const { name, component: parent, structure, baseName, recorded, options } = service;
  const { hostName } = options;
  const engine = parent.getProvider("docker:index/container:Container");
  const host = new DockerHost(
    `${name}-host`,
    { ...hostArgs(service), hostName, recorded, engine },
    { parent },
  );
  const { connection, preflight } = host;
  const kvm =
    structure.kvmCheck === "off"
      ? undefined
      : new KvmCheck(`${name}-kvm`, { connection, preflight, hostName }, { parent });
  const verdict: pulumi.Output<unknown> = kvm ? kvm.report : preflight;
  const checked = pulumi.all([host.architecture, verdict]);
  return {
    host,
    kvm,
    architecture: checked.apply(([architecture]) => architecture),
    baseName: checked.apply(() => baseName),
  };
}

function hostArgs({ structure, values, baseName, deployment }: Service): Omit<DockerHostArgs, "recorded"> {
  const { hostKind: kind, isNewHost: isNew, architecture, volumes } = structure;
  const { host, sshKeyFile, sshKnownHostsFile, sshHostKey, hostPort, bindAddress } = values;
  const whole = (unit: number) => (bytes: number) => Math.floor(bytes / unit);
  return {
    deployment,
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
