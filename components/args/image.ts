import type * as pulumi from "@pulumi/pulumi";
import type { ImageEngine } from "./choices";
import type { WheelHashArgs } from "./groups";

/** The image of the server. */
export interface ImageArgs {
  /**
   * Version of microsandbox to deploy. Accepted: a version like 0.7.11.
   * @default "0.7.11"
   * @example "0.6.18"
   */
  version?: pulumi.Input<string>;
  /** SHA-256 of the microsandbox download, by architecture. Needed for a version that has no hash in `docker/wheels`. */
  versionSha256?: WheelHashArgs;
  /**
   * Tag of the `debian` base image of the server; 13 or newer.
   * Accepted: a tag of the debian image, like 13.2-slim.
   * @default "13.2-slim"
   * @example "13.2"
   */
  debianVersion?: pulumi.Input<string>;
  /**
   * Prefix for the name of the base image, to pull it from your own registry or mirror.
   * Accepted: nothing, or a registry (and path) that ends in /.
   * @default ""
   * @example "registry.example.com/mirror/"
   */
  registryPrefix?: pulumi.Input<string>;
  /**
   * Prebuilt server image, by digest; `npm run image -- push` makes one. If not set, `up` builds the image.
   * Accepted: repository@sha256:… with 64 hexadecimal digits, and no tag.
   * @example "registry.example.com/team/server@sha256:0000000000000000000000000000000000000000000000000000000000000000"
   */
  serverImage?: pulumi.Input<string>;
  /**
   * Docker engine that builds the image or pulls `serverImage`: this machine's (`local`, which then sends the image to the host) or the host's (`host`). `auto` builds on this machine and pulls on the host.
   * @default "auto"
   * @example "host"
   */
  builder?: ImageEngine;
  /**
   * Registry (and path) to push the server image to; every host pulls it from there.
   * Accepted: a registry with or without a path, like registry.example.com/team.
   * @example "registry.example.com/team"
   */
  registry?: pulumi.Input<string>;
  /**
   * User for `registry`, or for the registry of `serverImage`. If not set, each machine uses its own `docker login`.
   * Accepted: a name without a colon.
   * @example "builder"
   */
  registryUser?: pulumi.Input<string>;
  /**
   * Password of `registryUser`; pass it as a secret.
   * @example "…"
   */
  registryPassword?: pulumi.Input<string>;
}
