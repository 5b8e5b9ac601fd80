import type * as pulumi from "@pulumi/pulumi";
import type { EgressLevel } from "./choices";
import type { RegistryAccessArgs } from "./groups";
import type { LimitsArgs } from "./limits";

/** Sandboxes of one kind that are kept booted. */
export interface WarmArgs {
  /**
   * Image, as clients name it.
   * @example "starter"
   */
  image: string;
  /**
   * Number of sandboxes. Accepted: a whole number from 1 to 100.
   * @example 2
   */
  count: number;
  /**
   * CPUs of each. Accepted: a whole number from 1 to 64.
   * @default 1
   * @example 2
   */
  cpus?: number;
  /**
   * Memory of each. Accepted: a whole number of MiB from 64 to 67108864.
   * @default 512
   * @example 1024
   */
  memoryMiB?: number;
}

/** What sandboxes get. */
export interface SandboxesArgs {
  /**
   * Images to pull during deployment, so that the first sandbox does not wait for them.
   * Accepted: a list of image references, like ["alpine:3.22"].
   * @default []
   * @example ["alpine:3.22"]
   */
  images?: string[];
  /**
   * Pull the image of a new sandbox if it is not in the server's cache.
   * @default true
   * @example false
   */
  autoPullImages?: pulumi.Input<boolean>;
  /**
   * Pre-booted sandboxes. A create request for the same image and size gets one immediately. If not set: one of `starter`, where guests have 8 GiB of memory and the server 4 CPUs; `[]` is none.
   * Accepted: a list like [{"image":"starter","count":2,"cpus":1,"memoryMiB":512}].
   * @example [{"image": "starter", "count": 2}]
   */
  warm?: pulumi.Input<pulumi.Input<WarmArgs>[]>;
  /** Registries of sandbox images: mirrors, CA certificates, credentials, and which ones are allowed. */
  registries?: RegistryAccessArgs;
  /**
   * Network access of sandboxes: none, the public internet, or private networks too (`all`); never the server itself.
   * @default "public"
   * @example "none"
   */
  egress?: pulumi.Input<EgressLevel>;
  /**
   * Further destinations that sandboxes may reach: addresses, ranges (CIDR) or names, each with or without a port.
   * Accepted: a list of addresses, ranges and names, like ["10.1.2.0/24","api.example.com:443"].
   * @default []
   * @example ["10.1.2.0/24"]
   */
  egressAllow?: pulumi.Input<pulumi.Input<string>[]>;
  /** Limits that the server enforces: sandboxes, memory, CPUs, time, volumes, requests. */
  limits?: LimitsArgs;
}
