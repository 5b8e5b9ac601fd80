import * as pulumi from "@pulumi/pulumi";
import { publishAddress } from "../host/docker-host";
import { imageNameOf } from "../host/names";
import type { PrebuiltImage } from "../image/prebuilt-image";
import type { SandboxImage } from "../image/sandbox-image";
import { serverImage } from "../image/server-image";
import { Server } from "../server/server";
import { kvmGroup } from "../server/server-user";
import { Storage } from "../server/storage";
import { Upgrade, type UpgradeArgs } from "../server/upgrade";
import { egressVariable, hostRanges } from "../settings/egress";
import { hostNames } from "../settings/endpoint";
import { namingHost } from "../settings/visible-error";
import type { CheckedHost } from "./checked-host";
import type { Service } from "./service";

/** The server of a service, and what it is made of. */
export interface RunningServer {
  image: SandboxImage | PrebuiltImage;
  storage: Storage;
  upgrade: Upgrade;
  server: Server;
}

/** Image, volumes and container. The image of a deployed server is tried on its state before the container is replaced. */
export function runningServer(service: Service, on: CheckedHost): RunningServer {
  const { name, component: parent, structure, values, recorded } = service;
  const { host, architecture } = on;
  const image = serverImage(
    `${name}-image`,
    {
      ...{ host, architecture, recorded, settings: values },
      baseName: imageNameOf(service.baseName),
      isEmulated: structure.hostKind === "emulated",
      isMadeOnHost: structure.isMadeOnHost,
      hasServerImage: structure.hasServerImage,
      hasRegistry: structure.hasRegistry,
    },
    parent,
  );
  const storage = storageOf(service, on);
  const container = containerSettings(service, on, storage);
  const { imageId } = image;
  const boot = structure.kvmCheck === "boot";
  const containerName = `${service.baseName}-server`;
  const upgrade = new Upgrade(`${name}-upgrade`, { ...container, containerName, imageId, boot }, { parent });
  const server = new Server(
    `${name}-server`,
    {
      ...container,
      imageId: upgrade.imageId,
      mtu: host.preflight.apply(({ mtu }) => mtu),
      hostRanges: host.preflight.apply(({ addresses }) => hostRanges(addresses)),
    },
    { parent, providers: { docker: host.engine } },
  );
  return { image, storage, upgrade, server };
}

function storageOf({ name, component, structure, values, deployment, options }: Service, on: CheckedHost) {
  const { state, workspace } = values.volumes;
  const { baseName } = on;
  return new Storage(
    `${name}-storage`,
    { ...structure.volumes, deployment, baseName, state, workspace, transform: options.transform?.volumes },
    { parent: component, providers: { docker: on.host.engine } },
  );
}

/** What container and trial of an upgrade have in common. */
function containerSettings(
  { structure, values, tlsNames, deployment, options }: Service,
  { host: { connection, preflight }, baseName }: CheckedHost,
  volumes: Storage,
): Omit<UpgradeArgs, "containerName" | "imageId" | "boot"> {
  const { privileged, devMode } = structure;
  return {
    ...values,
    ...{ deployment, baseName, privileged, devMode, volumes, connection },
    transform: options.transform,
    tun: preflight.apply(({ tun }) => tun),
    kvmGroup: privileged
      ? undefined
      : preflight.apply((report) => namingHost(options.hostName, () => kvmGroup(report))),
    hasTls: structure.tls !== "none",
    hostNames: pulumi.all([values.host, tlsNames]).apply(([address, names]) => hostNames(address, names)),
    hasSwapLimit: preflight.apply(({ swapLimit }) => swapLimit),
    engineApi: preflight.apply(({ engine }) => engine?.api ?? ""),
    publishAddress: publishAddress({ kind: structure.hostKind, bindAddress: values.bindAddress }),
    egressPolicy: pulumi
      .all([values.egress, values.egressAllow])
      .apply(([egress, egressAllow]) => egressVariable({ egress, egressAllow })),
  };
}
