import * as pulumi from "@pulumi/pulumi";
import type { CheckedArgs, Structure } from "./checked-args";
import type { DockerHost } from "./host/docker-host";
import { registryOf } from "./image/image-on-host";
import { PrebuiltImage } from "./image/prebuilt-image";
import type { RecordedCommands } from "./image/printed";
import { SandboxImage } from "./image/sandbox-image";

/** The image of a host's server, as the settings want it: built or prebuilt, by the host's engine or by this machine's. */
export function serverImage(
  name: string,
  structure: Structure,
  values: CheckedArgs["values"],
  on: {
    host: DockerHost;
    baseName: string;
    architecture: pulumi.Output<"amd64" | "arm64">;
    recorded: RecordedCommands;
  },
  parent: pulumi.Resource,
): SandboxImage | PrebuiltImage {
  const { host, baseName, architecture, recorded } = on;
  const { connection, imageLoader: loader } = host;
  const sparing = structure.hostKind === "emulated";
  const transfer = structure.isMadeOnHost || !loader ? undefined : { connection, loader, sparing };
  if (structure.hasServerImage) {
    const source = values.serverImage.apply((image) => image ?? "");
    const { version } = values;
    const login = loginTo(source, structure, values);
    const args = { source, baseName, architecture, version, connection, transfer, login, recorded };
    return new PrebuiltImage(name, args, { parent });
  }
  const repository = pulumi.interpolate`${values.registry}/microsandbox-${pulumi.getStack()}`;
  const login = { user: values.registryUser, password: values.registryPassword };
  const registry = structure.hasRegistry ? { repository, login } : undefined;
  return new SandboxImage(
    name,
    { ...values, baseName, architecture, transfer, registry, recorded },
    { parent, providers: { docker: structure.isMadeOnHost ? host.engine : host.builder } },
  );
}

/** The login in the settings, where it is one to the registry of this image. */
function loginTo(source: pulumi.Output<string>, { hasRegistry }: Structure, values: CheckedArgs["values"]) {
  const isForIt = pulumi
    .all([source, values.registry])
    .apply(([image, registry]) => !hasRegistry || registryOf(`${registry}/any`) === registryOf(image));
  const forIt = (value: pulumi.Output<string | undefined>) =>
    pulumi.all([isForIt, value]).apply(([isMeant, text]) => (isMeant ? text : undefined));
  return { user: forIt(values.registryUser), password: forIt(values.registryPassword) };
}
