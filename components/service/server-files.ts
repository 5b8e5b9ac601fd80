import * as pulumi from "@pulumi/pulumi";
import { madeApiKey, requireKey } from "../server/api-key";
import { BootCheck } from "../server/boot-check";
import { Keys } from "../server/keys";
import { PulledImages } from "../server/pulled-images";
import { Registries } from "../server/registries";
import type { Server } from "../server/server";
import { Tls } from "../server/tls";
import { endpointHost, endpointUrl } from "../settings/endpoint";
import type { CheckedHost } from "./checked-host";
import type { Service } from "./service";

/** What a server has besides its container. */
export interface ServerFiles {
  /** The key of the settings or the generated one; empty where there is neither. */
  apiKey: pulumi.Input<string>;
  /** URL of the server, known once it serves there with its certificate, keys and registries. */
  endpoint: pulumi.Output<string>;
  tls: Tls | undefined;
  boot: BootCheck | undefined;
  /** All that has been made. */
  resources: pulumi.Resource[];
}

/** Gives a server that runs its registries, images, keys and certificate, and boots a microVM if the settings want it. */
export function serverFiles(service: Service, { host, kvm }: CheckedHost, server: Server): ServerFiles {
  const { name, component: parent, structure, values, baseName } = service;
  const { containerName, containerId, ready } = server;
  const inServer = { connection: host.connection, containerName, containerId };
  const afterServer = { parent, dependsOn: ready };

  const registries = structure.hasRegistries
    ? new Registries(`${name}-registries`, { ...inServer, settings: values.registries }, afterServer)
    : undefined;
  const mirrors = values.registries.apply((each) => each.mirrors);
  const images =
    structure.images.length > 0
      ? new PulledImages(
          `${name}-images`,
          { ...inServer, images: structure.images, mirrors },
          { parent, dependsOn: registries?.applied ?? ready },
        )
      : undefined;
  const apiKey = apiKeyOf(service);
  const { keys: furtherKeys } = values;
  const keys = structure.devMode
    ? undefined
    : new Keys(`${name}-key`, { ...inServer, apiKey, keys: furtherKeys }, afterServer);
  const { names, url } = endpointOf(service);
  const tls =
    structure.tls === "none"
      ? undefined
      : new Tls(
          `${name}-tls`,
          {
            ...{ ...inServer, settings: values.tls, names },
            isGenerated: structure.tls === "generated",
            authorityName: `${baseName} authority`,
          },
          afterServer,
        );
  const details = kvm?.report.apply((report) => report.details);
  const boot =
    details && structure.kvmCheck === "boot"
      ? new BootCheck(`${name}-boot`, { ...inServer, kvm: details }, afterServer)
      : undefined;
  // Not with the images: one that can't be pulled keeps nobody from using the server.
  const settled = [(tls ?? server).ready, keys?.applied, registries?.applied].filter(
    (each) => each !== undefined,
  );
  const endpoint = pulumi.all([url, pulumi.all(settled.map(({ urn }) => urn))]).apply(([text]) => text);
  const resources = [registries, images, keys, tls, boot].filter((each) => each !== undefined);
  return { apiKey, endpoint, tls, boot, resources };
}

function endpointOf({ structure, values, tlsNames }: Service) {
  const { bindAddress, hostPort, host } = values;
  const all = pulumi.all([bindAddress, hostPort, host, tlsNames]);
  return {
    url: all.apply(([bind, port, address, names]) =>
      endpointUrl({ bindAddress: bind, hostPort: port, host: address }, structure.tls, names),
    ),
    names: all.apply(([bind, , address, names]) => [
      endpointHost({ bindAddress: bind, host: address }),
      ...["127.0.0.1", "localhost", ...names],
    ]),
  };
}

function apiKeyOf({ name, component, structure, values, options }: Service): pulumi.Input<string> {
  const { devMode, hasApiKey, hasKeys, takesMadeKey } = structure;
  if (devMode) return "";
  if (hasApiKey) return values.apiKey.apply((key) => key ?? "");
  if (takesMadeKey) return options.madeKey ?? madeApiKey(`${name}-api-key`, !hasKeys, component);
  if (!hasKeys) requireKey([], undefined);
  return "";
}
