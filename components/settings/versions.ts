import * as z from "zod";
import { optionalText, settingMeta, text } from "./fields";

/** Tag of the Debian image that the server's image is built on, where no other is set. */
export const DEFAULT_DEBIAN = "13.2-slim";

const VERSION = /^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/;
const TAG = /^\w[\w.-]{0,127}$/;
const REGISTRY = /^$|^[a-z0-9][a-z0-9.-]*(:\d{1,5})?(\/[a-z0-9][a-z0-9._-]*)*\/$/;
const SHA256 = /^[0-9a-f]{64}$/;
const acceptsHash = "64 hexadecimal digits in lower case";

/** SHA-256 of microsandbox's download for each processor. */
export const hashes = z.strictObject({
  amd64: optionalText(SHA256, {
    description: "SHA-256 of the download for amd64.",
    accepts: acceptsHash,
    example: "a".repeat(64),
  }),
  arm64: optionalText(SHA256, {
    description: "SHA-256 of the download for arm64.",
    accepts: acceptsHash,
    example: "b".repeat(64),
  }),
});

/** Settings of what the server's image is built from. */
export const imageVersions = {
  version: text("0.7.11", VERSION, {
    description: "Version of microsandbox to deploy.",
    accepts: "a version like 0.7.11",
    example: "0.6.18",
    suggest: (given) => given.trim().replace(/^v/, ""),
  }),
  versionSha256: hashes.optional().register(settingMeta, {
    description:
      "SHA-256 of the microsandbox download, by architecture. Needed for a version that has no hash in `docker/wheels`.",
    accepts: 'an object of hashes, like {"amd64":"…","arm64":"…"}',
    example: '{"amd64":"…"}',
  }),
  debianVersion: text(DEFAULT_DEBIAN, TAG, {
    description: "Tag of the `debian` base image of the server; 13 or newer.",
    accepts: `a tag of the debian image, like ${DEFAULT_DEBIAN}`,
    example: "13.2",
  }),
  registryPrefix: text("", REGISTRY, {
    description: "Prefix for the name of the base image, to pull it from your own registry or mirror.",
    accepts: "nothing, or a registry (and path) that ends in /",
    example: "registry.example.com/mirror/",
    suggest: (given) => `${given.replace(/^\w+:\/\//, "").replace(/\/+$/, "")}/`,
  }),
};
