import { createHash } from "node:crypto";

/** What a build is made with, besides the files of its context. */
export interface BuildSettings {
  version: string;
  architecture: "amd64" | "arm64";
  versionSha256?: { amd64?: string; arm64?: string };
  debianVersion: string;
  registryPrefix?: string;
}

/** Arguments of the Dockerfile. */
export function buildArgsOf(settings: BuildSettings): { [name: string]: string } {
  const sha256 = settings.versionSha256?.[settings.architecture];
  return {
    REGISTRY_PREFIX: settings.registryPrefix ?? "",
    DEBIAN_VERSION: settings.debianVersion,
    MICROSANDBOX_VERSION: settings.version,
    ...(sha256 ? { MICROSANDBOX_SHA256: sha256 } : {}),
  };
}

/**
 * Name and tag of an image. They identify its content: an engine that has the name has the image.
 *
 * @param content hash of the build's context
 */
export function imageName(baseName: string, settings: BuildSettings, content: string): string {
  const hash = shortHash([content, buildArgsOf(settings)]);
  return `${baseName}:${settings.version}-${settings.architecture}-${hash}`;
}

/** Twelve hexadecimal digits that stand for a value. */
export function shortHash(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex").slice(0, 12);
}
