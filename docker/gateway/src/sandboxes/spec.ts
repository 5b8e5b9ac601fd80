import ipaddr from "ipaddr.js";
import * as z from "zod";
import { labels, objectName, optional, text } from "./fields";
import { guestSecrets } from "./secrets";

const guestPath = text.refine((value) => value.startsWith("/"), "is not an absolute path");
const mode = optional(z.int().min(0).max(0o7777));
const replace = z.boolean().default(false);

const imageReference = z
  .string()
  .max(512)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._/:@-]*$/, "is not an image reference");

const id = optional(z.int().min(0).max(0xffff_ffff));
const mountOptions = z
  .looseObject({
    readonly: z.boolean().default(false),
    noexec: z.boolean().default(false),
    nosuid: z.boolean().default(false),
    nodev: z.boolean().default(false),
    /** The owner that files made outside of the guest seem to have; both or none. */
    override_uid: id,
    override_gid: id,
  })
  .prefault({});

/** Kinds that name the server's own paths are known, so that they get their own refusal. */
const mount = z.discriminatedUnion("type", [
  z.looseObject({
    type: z.literal("named"),
    // A path would be one of the server.
    name: objectName,
    guest: guestPath,
    options: mountOptions,
    stat_virtualization: z.enum(["strict", "relaxed", "off"]).default("strict"),
    host_permissions: z.enum(["private", "mirror"]).default("private"),
  }),
  z.looseObject({
    type: z.literal("tmpfs"),
    guest: guestPath,
    size_mib: optional(z.int().min(1)),
    options: mountOptions,
  }),
  z.looseObject({ type: z.literal("bind") }),
  z.looseObject({ type: z.literal("disk_image") }),
  z.looseObject({ type: z.literal("owned") }),
]);

const patch = z.discriminatedUnion("type", [
  z.looseObject({ type: z.literal("text"), path: guestPath, content: text, mode, replace }),
  z.looseObject({
    type: z.literal("file"),
    path: guestPath,
    content: z.array(z.int().min(0).max(255)),
    mode,
    replace,
  }),
  z.looseObject({ type: z.literal("symlink"), target: text.min(1), link: guestPath, replace }),
  z.looseObject({ type: z.literal("mkdir"), path: guestPath, mode }),
  z.looseObject({ type: z.literal("remove"), path: guestPath }),
  z.looseObject({ type: z.literal("append"), path: guestPath, content: text }),
  z.looseObject({ type: z.literal("copy_file") }),
  z.looseObject({ type: z.literal("copy_dir") }),
]);

const action = z.enum(["allow", "deny"]);
const portNumber = z.int().min(0).max(65_535);

const cidr = z
  .union([z.cidrv4().max(64), z.cidrv6().max(64)], "is not a CIDR")
  .refine(ipaddr.isValidCIDR, "is not a CIDR");

export const destination = z.union([
  z.literal("any"),
  z.object({ cidr }),
  z.object({ domain: z.string().regex(/^[A-Za-z0-9._-]{1,253}$/, "is not a domain") }),
  z.object({ domain_suffix: z.string().regex(/^[A-Za-z0-9._-]{1,253}$/, "is not a domain") }),
  z.object({
    group: z.enum(["public", "loopback", "private", "link_local", "metadata", "multicast", "host"]),
  }),
]);

export const portRange = z.object({ start: portNumber, end: portNumber });

export const networkRule = z.object({
  direction: z.enum(["egress", "ingress", "any"]),
  destination,
  protocols: z.array(z.enum(["tcp", "udp", "icmpv4", "icmpv6"])).default([]),
  ports: z.array(portRange).default([]),
  action,
});

const network = z
  .looseObject({
    enabled: z.boolean().default(true),
    policy: optional(
      z.object({
        default_egress: action.default("deny"),
        default_ingress: action.default("allow"),
        rules: z.array(networkRule).max(512).default([]),
      }),
    ),
    secrets: optional(guestSecrets),
    strict: z.boolean().optional(),
    max_connections: optional(z.int().min(0)),
    /** The newer name for the same. */
    max_tcp_connections: optional(z.int().min(0)),
    max_udp_connections: optional(z.int().min(0)),
  })
  .prefault({});

// biome-ignore format: one list
const RLIMITS = [
  "cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as", "locks",
  "sigpending", "msgqueue", "nice", "rtprio", "rttime",
] as const;
const rlimitResource = z.enum(RLIMITS);

const seconds = optional(
  z
    .int()
    .min(1)
    .max(365 * 24 * 3600),
);

/** What a sandbox is to be: the normal form of a create request, and nothing that must not be kept. */
export const sandboxSpec = z.looseObject({
  name: objectName,
  reference: imageReference,
  resources: z
    .looseObject({
      vcpus: z.int().min(1).max(255).default(1),
      memory_mib: z.int().min(32).max(1_048_576).default(512),
      disk_size_mib: optional(z.int().min(16)),
    })
    .prefault({}),
  runtime: z
    .looseObject({
      workdir: optional(guestPath),
      shell: optional(text.min(1)),
      scripts: z.record(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/), text).default({}),
      entrypoint: optional(z.array(text)),
      cmd: optional(z.array(text)),
      user: optional(text.min(1)),
      log_level: optional(z.enum(["error", "warn", "info", "debug", "trace"])),
      hostname: optional(text.min(1)),
    })
    .prefault({}),
  env: z.array(z.looseObject({ key: text.regex(/^[^=]+$/), value: text })).default([]),
  labels: labels.default({}),
  rlimits: z
    .array(z.looseObject({ resource: rlimitResource, soft: z.int().min(0), hard: z.int().min(0) }))
    .default([]),
  mounts: z.array(mount).max(64).default([]),
  patches: z.array(patch).max(1024).default([]),
  network,
  init: optional(
    z.looseObject({
      cmd: text.min(1),
      args: z.array(text).default([]),
      env: z.array(z.tuple([text, text])).default([]),
    }),
  ),
  pull_policy: z.enum(["if_missing", "always", "never"]).default("if_missing"),
  security_profile: z.enum(["default", "restricted"]).default("default"),
  lifecycle: z
    .looseObject({
      ephemeral: z.boolean().default(false),
      max_duration_secs: seconds,
      idle_timeout_secs: seconds,
    })
    .prefault({}),
});

export type SandboxSpec = z.output<typeof sandboxSpec>;

export const sandboxStatus = z.enum(["created", "starting", "running", "stopping", "stopped", "failed"]);
export type SandboxStatus = z.infer<typeof sandboxStatus>;
