import { isIP } from "node:net";
import { z } from "zod";
import {
  formatSize,
  GIB,
  isPort,
  isTimeZone,
  MIB,
  nearest,
  nearestTimeZone,
  parseSize,
  parseSshHost,
} from "./config-values";

/** What the settings table and the error messages say about a setting. */
export interface SettingMeta {
  /** One sentence, for the settings table. */
  description: string;
  /** What a value may be, as the end of the sentence "accepted: …". */
  accepts: string;
  /** A value that is accepted and isn't the default. */
  example: string;
  /** The unit of the parsed value, where it has one. */
  unit?: string;
  /** A value that the user may have meant, from the one given. It is used only if it is accepted. */
  suggest?: (given: string) => string | undefined;
}

/** Descriptions of the settings, keyed by their schema. */
export const settingMeta = z.registry<SettingMeta>();

const trueOrFalse = "true or false";
const boolean = () => z.union([z.boolean(), z.enum(["true", "false"]).transform((text) => text === "true")]);

/** A number, or the text of one: Pulumi's configuration holds text only. */
const number = (accepts: (value: number) => boolean) =>
  z
    .union([z.number(), z.string().regex(/^\s*[+-]?\d+(\.\d+)?\s*$/)])
    .transform(Number)
    .refine(accepts);
const integer = (from: number, to: number) =>
  number((value) => Number.isInteger(value) && value >= from && value <= to);
const port = () => number(isPort);
const cpus = () => number((value) => value >= 0.1 && value <= 1024);
const size = (from: number, to: number) =>
  z.union([z.string(), z.number()]).transform((text, context) => {
    const bytes = parseSize(text);
    if (bytes !== undefined && bytes >= from && bytes <= to) return bytes;
    const message = bytes === undefined ? "not a size" : `${formatSize(bytes)} is out of range`;
    context.addIssue({ code: "custom", message });
    return z.NEVER;
  });

const acceptsCpus = "CPUs from 0.1 to 1024, like 2 or 0.5";
const acceptsSize = (from: string, to: string) => `a size from ${from} to ${to}, like 4G, 512M or 1.5g`;
const oneOf = (values: readonly string[]) => (given: string) => nearest(given, values);

const version = /^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/;
const tag = /^\w[\w.-]{0,127}$/;
const prefix = /^$|^[a-z0-9][a-z0-9.-]*(:\d{1,5})?(\/[a-z0-9][a-z0-9._-]*)*\/$/;
const reference =
  /^([a-zA-Z0-9][a-zA-Z0-9.-]*(:\d{1,5})?\/)?[a-z0-9]+([._/-]+[a-z0-9]+)*(:\w[\w.-]{0,127})?(@sha256:[0-9a-f]{64})?$/;
const volumeName = /^[a-zA-Z0-9][\w.-]{1,127}$/;
/** A path that ssh gets as an argument; empty counts as not given. */
const path = () =>
  z
    .string()
    // biome-ignore lint/suspicious/noControlCharactersInRegex: refusing them is the point
    .regex(/^(?!-)[^\x00-\x1f"]*$/)
    .transform((text) => text || undefined)
    .optional();

const sha256 = () => z.string().regex(/^[0-9a-f]{64}$/);
const hashes = z.strictObject({ amd64: sha256().optional(), arm64: sha256().optional() });
const volumes = z.strictObject({
  state: z.string().regex(volumeName).optional().register(settingMeta, {
    description: "Name of the volume that holds microsandbox's home: images, disks, sandboxes, keys.",
    accepts: "a volume name: letters, digits, `_`, `.` and `-`, at least 2 of them",
    example: "sandboxes-state",
  }),
  workspace: z.string().regex(volumeName).optional().register(settingMeta, {
    description: "Name of the volume that is /workspace in the server.",
    accepts: "a volume name: letters, digits, `_`, `.` and `-`, at least 2 of them",
    example: "sandboxes-workspace",
  }),
  keep: boolean().prefault(true).register(settingMeta, {
    description: "Keep both volumes when the stack is destroyed.",
    accepts: trueOrFalse,
    example: "false",
  }),
});

const hosts = ["local", "emulated"];
const architectures = ["auto", "amd64", "arm64"] as const;
const kvmChecks = ["off", "device", "boot"] as const;

/** Every setting below `microsandbox:`, in the order of the settings table. */
export const settingsSchema = z.strictObject({
  version: z
    .union([z.string().regex(version), z.literal("latest")])
    .prefault("0.7.11")
    .register(settingMeta, {
      description: "Version of microsandbox; `latest` is resolved once and then recorded.",
      accepts: "a version like 0.7.11, or latest",
      example: "latest",
      suggest: (given) => given.replace(/^v/, ""),
    }),
  versionSha256: hashes.optional().register(settingMeta, {
    description: "Hashes of the downloads of a version that this project has no hash for, per architecture.",
    accepts: 'an object of 64 hexadecimal digits each, like {"amd64":"…","arm64":"…"}',
    example: `{"amd64":"${"0".repeat(64)}"}`,
  }),
  debianVersion: z.string().regex(tag).prefault("13.2-slim").register(settingMeta, {
    description: "Tag of the debian image that the server is built on.",
    accepts: "a tag of the debian image, 13 or newer",
    example: "13.2",
  }),
  registryPrefix: z
    .string()
    .regex(prefix)
    .prefault("")
    .register(settingMeta, {
      description: "Put before the name of the base image, to pull it from a registry of your own.",
      accepts: "nothing, or a registry (and path) that ends in /",
      example: "registry.example.com/mirror/",
      suggest: (given) => `${given.replace(/^https?:\/\//, "").replace(/\/+$/, "")}/`,
    }),
  autoPullImages: boolean().prefault(true).register(settingMeta, {
    description: "Let the server pull an image that a sandbox asks for and that isn't there.",
    accepts: trueOrFalse,
    example: "false",
  }),
  devMode: boolean().prefault(true).register(settingMeta, {
    description: "Check no API key. Only for a loopback address, unless `exposeDevMode` is set.",
    accepts: trueOrFalse,
    example: "false",
  }),
  exposeDevMode: boolean().prefault(false).register(settingMeta, {
    description: "Allow dev mode on an address that other machines reach: anyone there can run code.",
    accepts: trueOrFalse,
    example: "true",
  }),
  port: port().prefault(5555).register(settingMeta, {
    description: "Port of the gateway inside the container.",
    accepts: "a TCP port, a whole number from 1 to 65535",
    example: "8080",
  }),
  hostPort: port().prefault(5555).register(settingMeta, {
    description: "Port of the gateway on the host.",
    accepts: "a TCP port, a whole number from 1 to 65535",
    example: "8080",
  }),
  bindAddress: z
    .string()
    .refine((text) => isIP(text) !== 0)
    .prefault("127.0.0.1")
    .register(settingMeta, {
      description: "Address on the host that `hostPort` listens on.",
      accepts: "an IP address, like 127.0.0.1 or 0.0.0.0",
      example: "0.0.0.0",
    }),
  timezone: z.string().refine(isTimeZone).prefault("UTC").register(settingMeta, {
    description: "Time zone of the server.",
    accepts: "a name of the IANA time zone database, like UTC or Europe/Berlin",
    example: "Europe/Berlin",
    suggest: nearestTimeZone,
  }),
  cpuLimit: cpus().prefault(4).register(settingMeta, {
    description: "CPUs that the server and its sandboxes can use at most.",
    accepts: acceptsCpus,
    example: "0.5",
    unit: "CPUs",
  }),
  cpuReservation: cpus()
    .prefault(1)
    .register(settingMeta, {
      description: "CPUs' worth of weight when the host is busy (CPU shares, 1024 a CPU).",
      accepts: `${acceptsCpus}, at most cpuLimit`,
      example: "2",
      unit: "CPUs",
    }),
  memoryLimit: size(256 * MIB, 64 * 1024 * GIB)
    .prefault("4G")
    .register(settingMeta, {
      description: "Memory that the server and its sandboxes can use at most.",
      accepts: acceptsSize("256M", "64T"),
      example: "16G",
      unit: "bytes",
    }),
  memoryReservation: size(64 * MIB, 64 * 1024 * GIB)
    .prefault("1G")
    .register(settingMeta, {
      description: "Memory that the server keeps when the host runs short (the soft limit).",
      accepts: `${acceptsSize("64M", "64T")}, at most memoryLimit`,
      example: "512M",
      unit: "bytes",
    }),
  pidsLimit: integer(64, 4194304).prefault(4096).register(settingMeta, {
    description: "Processes and threads in the server, the sandboxes' own not counted.",
    accepts: "a whole number from 64 to 4194304",
    example: "16384",
  }),
  host: z
    .string()
    .refine((text) => hosts.includes(text) || parseSshHost(text) !== undefined)
    .prefault("local")
    .register(settingMeta, {
      description:
        "Where the server runs: this machine, a machine over SSH, or an emulated machine with KVM.",
      accepts: "local, emulated, or ssh://user@address[:port]",
      example: "ssh://root@kvm.example.com",
      suggest: (given) =>
        nearest(given, hosts) ??
        `ssh://root@${given
          .replace(/^\w+:\/\//, "")
          .split("@")
          .pop()}`,
    }),
  sshKeyFile: path().register(settingMeta, {
    description: "Private key for an `ssh://` host; ssh's own choice if not set. Only its path is stored.",
    accepts: "the path of a file",
    example: "~/.ssh/id_ed25519",
  }),
  sshKnownHostsFile: path().register(settingMeta, {
    description: "Known host keys for an `ssh://` host; ssh's own file if not set.",
    accepts: "the path of a file",
    example: "~/.ssh/known_hosts",
  }),
  emulatedMemory: size(2 * GIB, 1024 * GIB)
    .prefault("6G")
    .register(settingMeta, {
      description: "Memory of the emulated host; at least `memoryLimit`.",
      accepts: acceptsSize("2G", "1T"),
      example: "8G",
      unit: "bytes",
    }),
  emulatedDisk: size(8 * GIB, 16 * 1024 * GIB)
    .prefault("20G")
    .register(settingMeta, {
      description: "Disk of the emulated host; it takes only the room that is used.",
      accepts: acceptsSize("8G", "16T"),
      example: "40G",
      unit: "bytes",
    }),
  architecture: z
    .enum(architectures)
    .prefault("auto")
    .register(settingMeta, {
      description: "Architecture of the image; `auto` asks the host's engine.",
      accepts: "auto, amd64 or arm64",
      example: "arm64",
      suggest: (given) =>
        /^(x86[_-]?64|x64)$/i.test(given)
          ? "amd64"
          : given === "aarch64"
            ? "arm64"
            : oneOf(architectures)(given),
    }),
  privileged: boolean().prefault(true).register(settingMeta, {
    description: "Run the server privileged; `false` gives it /dev/kvm and nothing more.",
    accepts: trueOrFalse,
    example: "false",
  }),
  images: z.array(z.string().regex(reference)).prefault([]).register(settingMeta, {
    description: "Images to pull while deploying, so that the first sandbox needn't wait.",
    accepts: 'a list of image references, like ["alpine:3.22","python@sha256:…"]',
    example: '["alpine:3.22"]',
  }),
  volumes: volumes.prefault({}).register(settingMeta, {
    description: "The two volumes: their names (from the stack's name if not set), and what a destroy does.",
    accepts: 'an object of state, workspace and keep, like {"keep":false}',
    example: '{"keep":false}',
  }),
  kvmCheck: z
    // YAML's `off` is also its word for false.
    .preprocess((value) => (value === false || value === "false" ? "off" : value), z.enum(kvmChecks))
    .prefault("device")
    .register(settingMeta, {
      description: "What is checked on every `up`: nothing, /dev/kvm, or /dev/kvm and one microVM's boot.",
      accepts: "off, device or boot",
      example: "boot",
      suggest: oneOf(kvmChecks),
    }),
  stopTimeout: integer(1, 3600).prefault(60).register(settingMeta, {
    description: "Time that running sandboxes get to stop when the server stops.",
    accepts: "whole seconds from 1 to 3600",
    example: "120",
    unit: "seconds",
  }),
  logMaxSize: z
    .union([z.string(), z.number()])
    .transform(String)
    .refine((text) => (parseSize(text) ?? 0) >= 1024)
    .prefault("100m")
    .register(settingMeta, {
      description: "Size at which the container's log file is rotated.",
      accepts: "a size of at least 1k, like 100m",
      example: "20m",
    }),
  logMaxFiles: integer(1, 1000).prefault(3).register(settingMeta, {
    description: "Rotated log files that are kept.",
    accepts: "a whole number from 1 to 1000",
    example: "5",
  }),
});

/** The settings after parsing: sizes in bytes, times in seconds, CPUs as numbers, defaults filled in. */
export type StackSettings = z.infer<typeof settingsSchema>;

/** The settings as a program may give them: plain values, all of them optional. */
export type MicrosandboxArgs = z.input<typeof settingsSchema>;
