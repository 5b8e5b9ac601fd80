import { join } from "node:path";
import { imageNameOf } from "../../components/host/names";
import { contextHash } from "../../components/image/context-hash";
import { imageName } from "../../components/image/image-name";
import { isMadeOnHost } from "../../components/settings/image-registry";
import { exec } from "../../setup/exec";
import { projectRoot } from "../../setup/project";
import type { SetupHost } from "../stack";

type ImageSettings = Pick<
  SetupHost,
  | "host"
  | "baseName"
  | "debianVersion"
  | "registryPrefix"
  | "version"
  | "versionSha256"
  | "serverImage"
  | "builder"
>;

/** Whether a deployment needs this machine's engine: as the host's, or to build or pull the image. */
export function needsEngineHere({ host, builder = "auto", serverImage }: ImageSettings): boolean {
  const hostKind = host === "local" || host === "emulated" ? host : "ssh";
  const hasServerImage = serverImage !== undefined;
  return hostKind === "local" || !isMadeOnHost({ builder, hostKind, hasServerImage });
}

/** Possible names of a host's image on this machine: the host's architecture is not known yet. */
export function imageNames(host: ImageSettings, content: string): string[] {
  const { baseName, version = "", versionSha256, debianVersion, registryPrefix } = host;
  return (["amd64", "arm64"] as const).map((architecture) =>
    imageName(
      imageNameOf(baseName),
      { version, architecture, versionSha256, debianVersion, registryPrefix },
      content,
    ),
  );
}

/**
 * Whether the next `up` builds a host's image with this machine's engine.
 *
 * @param has whether that engine has an image
 */
export async function isBuildDue(host: ImageSettings, has = engineHas): Promise<boolean> {
  if (host.serverImage !== undefined || !needsEngineHere(host)) return false;
  const names = imageNames(host, contextHash(join(projectRoot, "docker")));
  return !(await Promise.all(names.map(has))).includes(true);
}

async function engineHas(image: string): Promise<boolean> {
  const { failed } = await exec("docker", ["image", "inspect", "--format", "{{.Id}}", image], {
    reject: false,
  });
  return !failed;
}
