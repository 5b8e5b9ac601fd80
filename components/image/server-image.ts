import * as pulumi from "@pulumi/pulumi";
import type { DockerHost } from "../host/docker-host";
import type { HostSettings } from "../settings/schema";
import { registryOf } from "./image-on-host";
import { PrebuiltImage } from "./prebuilt-image";
import type { RecordedCommands } from "./printed";
import { SandboxImage } from "./sandbox-image";

/** Settings of the image, each as soon as it is known. */
type ImageSettings = {
  [Key in keyof Pick<
    HostSettings,
    | ("version" | "versionSha256" | "debianVersion" | "registryPrefix" | "serverImage")
    | ("registry" | "registryUser" | "registryPassword")
  >]-?: pulumi.Output<HostSettings[Key]>;
};

export interface ServerImageArgs {
  host: DockerHost;
  /** Repository part of the image's name on the host. */
  baseName: string;
  architecture: pulumi.Output<"amd64" | "arm64">;
  /** What the state has of the service. */
  recorded: RecordedCommands;
  settings: ImageSettings;
  /** Whether the host is an emulated one. */
  isEmulated: boolean;
  /** Whether the host's own engine makes the image, or pulls it; else it comes from this machine's. */
  isMadeOnHost: boolean;
  /** Whether the image is prebuilt. */
  hasServerImage: boolean;
  /** Whether it goes through a registry. */
  hasRegistry: boolean;
}

/** The image of a host's server, as the settings want it: built or prebuilt, by the host's engine or by this machine's. */
export function serverImage(
  name: string,
  args: ServerImageArgs,
  parent: pulumi.Resource,
): SandboxImage | PrebuiltImage {
  const { host, baseName, architecture, recorded, settings } = args;
  const { connection, imageLoader: loader } = host;
  const transfer =
    args.isMadeOnHost || !loader ? undefined : { connection, loader, loaderDeduplicates: args.isEmulated };
  if (args.hasServerImage) {
    const source = settings.serverImage.apply((image) => image ?? "");
    const { version } = settings;
    const login = loginTo(source, args);
    const image = { source, baseName, architecture, version, connection, transfer, login, recorded };
    return new PrebuiltImage(name, image, { parent });
  }
  const repository = pulumi.interpolate`${settings.registry}/microsandbox-${pulumi.getStack()}`;
  const login = { user: settings.registryUser, password: settings.registryPassword };
  const registry = args.hasRegistry ? { repository, login } : undefined;
  return new SandboxImage(
    name,
    { ...settings, baseName, architecture, transfer, registry, recorded },
    { parent, providers: { docker: args.isMadeOnHost ? host.engine : host.builder } },
  );
}

/** The login in the settings, where it is one to the registry of this image. */
function loginTo(source: pulumi.Output<string>, { hasRegistry, settings }: ServerImageArgs) {
  const isForIt = pulumi
    .all([source, settings.registry])
    .apply(([image, registry]) => !hasRegistry || registryOf(`${registry}/any`) === registryOf(image));
  const forIt = (value: pulumi.Output<string | undefined>) =>
    pulumi.all([isForIt, value]).apply(([isMeant, text]) => (isMeant ? text : undefined));
  return { user: forIt(settings.registryUser), password: forIt(settings.registryPassword) };
}
