import ipaddr from "ipaddr.js";
import * as z from "zod";
import { areUnique, bytes, known, labels, limited, list, objectName, optional, record, text } from "./fields";
import { guestSecrets } from "./secrets";

/** Characters of one argument, variable or secret; {@link KEPT_BYTES} bounds them together. */
const argument = text(64 * 1024);
/** Characters of a script, or of a file that is written into the disk. */
const content = text(1024 * 1024);
/** Bytes of such a file. The size of the body is the bound that is met first, unless it was set higher. */
const MAX_FILE = 16 * 1024 * 1024;

const guestPath = text(4096).refine((value) => value.startsWith("/"), "is not an absolute path");
const mode = optional(z.int().min(0).max(0o7777));
const replace = z.boolean().default(false);

export const imageReference = limited(512).regex(
  /^[A-Za-z0-9][A-Za-z0-9._/:@-]*$/,
  "is not an image reference",
);

const id = optional(z.int().min(0).max(0xffff_ffff));
const mountOptions = known({
  readonly: z.boolean().default(false),
  noexec: z.boolean().default(false),
  nosuid: z.boolean().default(false),
  nodev: z.boolean().default(false),
  /** The owner that files made outside of the guest seem to have; both or none. */
  override_uid: id,
  override_gid: id,
}).prefault({});

/** Kinds that name the server's own paths are known, so that they get their own refusal. */
const mount = z.discriminatedUnion("type", [
  known({
    type: z.literal("named"),
    // A path would be one of the server.
    name: objectName,
    guest: guestPath,
    options: mountOptions,
    stat_virtualization: z.enum(["strict", "relaxed", "off"]).default("strict"),
    host_permissions: z.enum(["private", "mirror"]).default("private"),
  }),
  known({
    type: z.literal("tmpfs"),
    guest: guestPath,
    size_mib: optional(z.int().min(1).max(1_048_576)),
    options: mountOptions,
  }),
  z.looseObject({ type: z.literal("bind") }),
  z.looseObject({ type: z.literal("disk_image") }),
  z.looseObject({ type: z.literal("owned") }),
]);

const patch = z.discriminatedUnion("type", [
  known({ type: z.literal("text"), path: guestPath, content, mode, replace }),
  known({
    type: z.literal("file"),
    path: guestPath,
    content: bytes(MAX_FILE),
    mode,
    replace,
  }),
  known({ type: z.literal("symlink"), target: text(4096).min(1), link: guestPath, replace }),
  known({ type: z.literal("mkdir"), path: guestPath, mode }),
  known({ type: z.literal("remove"), path: guestPath }),
  known({ type: z.literal("append"), path: guestPath, content }),
  z.looseObject({ type: z.literal("copy_file") }),
  z.looseObject({ type: z.literal("copy_dir") }),
]);

const action = z.enum(["allow", "deny"]);
/** There may be very many of them: the first wrong one ends the check. */
const portNumber = z.int().min(0, { abort: true }).max(65_535, { abort: true });

const cidr = z
  .union([z.cidrv4().max(64), z.cidrv6().max(64)], "is not a CIDR")
  .refine(ipaddr.isValidCIDR, "is not a CIDR");

const domain = limited(253).regex(/^[A-Za-z0-9._-]+$/, "is not a domain");

export const destination = z.union([
  z.literal("any"),
  z.strictObject({ cidr }),
  z.strictObject({ domain }),
  z.strictObject({ domain_suffix: domain }),
  z.strictObject({
    group: z.enum(["public", "loopback", "private", "link_local", "metadata", "multicast", "host"]),
  }),
]);

export const portRange = known({ start: portNumber, end: portNumber });

export const networkRule = known({
  direction: z.enum(["egress", "ingress", "any"]),
  destination,
  protocols: list(z.enum(["tcp", "udp", "icmpv4", "icmpv6"]), 4)
    .refine(areUnique, "names a protocol twice")
    .default([]),
  ports: list(portRange, 64).default([]),
  action,
});

const network = known({
  enabled: z.boolean().default(true),
  policy: optional(
    known({
      default_egress: action.default("deny"),
      default_ingress: action.default("allow"),
      rules: list(networkRule, 512).default([]),
    }),
  ),
  secrets: optional(guestSecrets),
  strict: z.boolean().optional(),
  max_connections: optional(z.int().min(0)),
  /** The newer name for the same. */
  max_tcp_connections: optional(z.int().min(0)),
  max_udp_connections: optional(z.int().min(0)),
}).prefault({});

// biome-ignore format: one list
const RLIMITS = [
  "cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as", "locks",
  "sigpending", "msgqueue", "nice", "rtprio", "rttime",
] as const;
const rlimit = known({ resource: z.enum(RLIMITS), soft: z.int().min(0), hard: z.int().min(0) });

const variableName = text(1024).regex(/^[^=]+$/, "is not a name");
const variable = known({ key: variableName, value: argument });

/** What /etc/hosts can name: nothing in it is a space, a line of its own, or a comment. */
const hostName = limited(253).regex(
  /^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/,
  "is not a host name: letters, digits, '.', '-', '_'; the first and the last a letter or digit",
);

const seconds = optional(
  z
    .int()
    .min(1)
    .max(365 * 24 * 3600),
);

/** What a sandbox is to be: the normal form of a create request, and nothing that must not be kept. */
export const sandboxSpec = known({
  name: objectName,
  reference: imageReference,
  resources: known({
    vcpus: z.int().min(1).max(255).default(1),
    memory_mib: z.int().min(32).max(1_048_576).default(512),
    disk_size_mib: optional(z.int().min(16).max(16_777_216)),
  }).prefault({}),
  runtime: known({
    workdir: optional(guestPath),
    shell: optional(text(4096).min(1)),
    scripts: record(objectName, content, 64).default({}),
    entrypoint: optional(list(argument, 1024)),
    cmd: optional(list(argument, 1024)),
    user: optional(text(256).min(1)),
    log_level: optional(z.enum(["error", "warn", "info", "debug", "trace"])),
    hostname: optional(hostName),
  }).prefault({}),
  env: list(variable, 1024).default([]),
  labels: labels.default({}),
  rlimits: list(rlimit, RLIMITS.length)
    .refine((given) => areUnique(given.map(({ resource }) => resource)), "names a resource twice")
    .default([]),
  mounts: list(mount, 64).default([]),
  patches: list(patch, 1024).default([]),
  network,
  init: optional(
    known({
      cmd: argument.min(1),
      args: list(argument, 1024).default([]),
      env: list(z.tuple([variableName, argument]), 1024).default([]),
    }),
  ),
  pull_policy: z.enum(["if_missing", "always", "never"]).default("if_missing"),
  security_profile: z.enum(["default", "restricted"]).default("default"),
  lifecycle: known({
    ephemeral: z.boolean().default(false),
    max_duration_secs: seconds,
    idle_timeout_secs: seconds,
  }).prefault({}),
});

export type SandboxSpec = z.output<typeof sandboxSpec>;

export const sandboxStatus = z.enum(["created", "starting", "running", "stopping", "stopped", "failed"]);
export type SandboxStatus = z.infer<typeof sandboxStatus>;
