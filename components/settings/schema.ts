import * as z from "zod";
import { cluster, clusterSetting } from "./cluster";
import { egress, egressAllow } from "./egress";
import {
  address,
  choice,
  cpus,
  flag,
  integer,
  inWords,
  optionalText,
  port,
  settingMeta,
  size,
  text,
} from "./fields";
import { sshHostKey } from "./host-key";
import { hosts } from "./hosts";
import { imageRegistry, imageSource } from "./image-registry";
import { isolateByKey, keys } from "./keys";
import { limits } from "./limits";
import { registries } from "./registries";
import { tls } from "./tls";
import { isSshHost, isTimeZone, nearest, nearestTimeZone } from "./values";
import { hashes, imageVersions } from "./versions";
import { volumes, volumesSetting } from "./volumes";
import { IMAGE, warm } from "./warm";

/** The namespace of the settings in a stack's configuration. */
export const NAMESPACE = "microsandbox";

/** A key travels in a header. */
const KEY = /^[\w.~+/=-]{32,256}$/;
/** A path that ssh can be given: `${` would be a variable there, and older versions take no double quote. */
const PATH = /^(?!-|none$)(?:(?!\$\{)[^\p{C}"])+$/u;

/** The fields of the structured settings. */
export const settingFields = {
  volumes: volumes.shape,
  versionSha256: hashes.shape,
  limits: limits.shape,
  registries: registries.shape,
  tls: tls.shape,
  cluster: cluster.shape,
};

/** Every setting below `microsandbox:`, in the order of the settings table. */
export const settingsSchema = z.strictObject({
  ...imageVersions,
  ...imageSource,
  ...imageRegistry,
  autoPullImages: flag(true, "Pull the image of a new sandbox if it is not in the server's cache."),
  devMode: flag(
    true,
    "Accept requests without an API key. Only on a loopback address, unless `exposeDevMode` is true.",
  ),
  exposeDevMode: flag(
    false,
    "Allow dev mode on an address that other machines can reach: all of them can run code.",
  ),
  apiKey: optionalText(KEY, {
    description:
      "API key that clients send when `devMode` is false; a secret. If neither it nor `keys` is set, the first `up` generates one.",
    accepts: "32 to 256 letters, digits or . _ ~ + / = -",
    example: "msb_0123456789abcdef0123456789abcdef",
  }),
  generateApiKey: flag(
    true,
    "Generate an API key if `apiKey` is not set; the output `apiKey` shows it. It stays the same while this is true and `apiKey` is not set.",
  ),
  keys,
  isolateByKey,
  port: port(5555, "Port of the gateway inside the container."),
  hostPort: port(5555, "Port of the gateway on the host."),
  bindAddress: address("127.0.0.1", {
    description: "Address on the host that `hostPort` listens on.",
    accepts: "an IP address, like 127.0.0.1 or 0.0.0.0",
    example: "0.0.0.0",
  }),
  timezone: text("UTC", isTimeZone, {
    description: "Time zone of the server.",
    accepts: "a name of the IANA time zone database, like UTC or Europe/Berlin",
    example: "Europe/Berlin",
    suggest: nearestTimeZone,
  }),
  cpuLimit: cpus(4, "0.5", "CPU limit for the server and all its sandboxes together."),
  cpuReservation: cpus(1, "2", "CPU weight on a busy host (CPU shares, 1024 per CPU); at most `cpuLimit`."),
  memoryLimit: size(
    "4G",
    { from: "256M", to: "64T" },
    "16G",
    "Memory limit for the server and all its sandboxes together.",
  ),
  memoryReservation: size(
    "1G",
    { from: "64M", to: "64T" },
    "512M",
    "Memory that the server keeps when the host runs short of it (Docker's soft limit); at most `memoryLimit`.",
  ),
  pidsLimit: integer(4096, 64, 4194304, {
    description: "Limit of processes and threads in the container; those inside sandboxes do not count.",
    example: "16384",
  }),
  host: text("local", (host) => host === "local" || host === "emulated" || isSshHost(host), {
    description:
      "Where the server runs: on this machine, on another one over SSH, or on an emulated one (QEMU) with KVM.",
    accepts: "local, emulated or ssh://user@address[:port]",
    example: "ssh://root@kvm.example.com",
    suggest: (given) => nearest(given, ["local", "emulated"]) ?? asSshHost(given),
  }),
  hosts,
  cluster: clusterSetting,
  sshKeyFile: optionalText(PATH, {
    description: "Private key file for an `ssh://` host; ssh's default if not set. Only its path is stored.",
    accepts: 'the path of a file, without " and ${',
    example: "~/.ssh/id_ed25519",
  }),
  sshKnownHostsFile: optionalText(PATH, {
    description: "Host keys (known_hosts file) for an `ssh://` host; ssh's default if not set.",
    accepts: 'the path of a file, without " and ${',
    example: "~/.ssh/known_hosts",
  }),
  sshHostKey,
  emulatedMemory: size(
    "6G",
    { from: "2G", to: "1T" },
    "8G",
    "Memory of the emulated host; at least `memoryLimit`.",
  ),
  emulatedDisk: size(
    "20G",
    { from: "8G", to: "16T" },
    "40G",
    "Disk of the emulated host; sparse, it takes only the space in use.",
  ),
  architecture: choice(["auto", "amd64", "arm64"], "auto", {
    description:
      "Architecture of host and image; `auto` asks the host's engine. An emulated host gets the one named here.",
    example: "arm64",
    suggest: asArchitecture,
  }),
  privileged: flag(
    true,
    "Run the server in a privileged container; `false` gives it /dev/kvm and no other privilege.",
  ),
  images: z.array(z.string().regex(IMAGE)).superRefine(refuseDoubles).prefault([]).register(settingMeta, {
    description: "Images to pull during deployment, so that the first sandbox does not wait for them.",
    accepts: 'a list of image references, like ["alpine:3.22"]',
    example: '["alpine:3.22"]',
  }),
  warm,
  registries: registries.prefault({}).register(settingMeta, {
    description:
      "Registries of sandbox images: mirrors, CA certificates, credentials, and which ones are allowed.",
    accepts: "an object of mirrors, certificates, plainHttp, logins and allowed",
    example: '{"plainHttp":["localhost:5000"]}',
  }),
  tls: tls.prefault({}).register(settingMeta, {
    description: "TLS certificate of the server; without one it serves plain http.",
    accepts: "an object of generate, names, certificate and key",
    example: '{"generate":true}',
  }),
  production: flag(false, "Refuse settings that are only suitable for testing; each error names the fix."),
  exposeHttp: flag(
    false,
    "Allow plain http on an address that other machines can reach: API keys and data can be read in transit.",
  ),
  egress,
  egressAllow,
  volumes: volumesSetting,
  limits: limits.prefault({}).register(settingMeta, {
    description: "Limits that the server enforces: sandboxes, memory, CPUs, time, volumes, requests.",
    accepts: `an object of ${inWords(Object.keys(limits.shape), "and")}`,
    example: '{"sandboxes":20}',
  }),
  kvmCheck: choice(["off", "device", "boot"], "device", {
    description: "What every `up` checks: nothing, /dev/kvm, or also that one microVM boots.",
    example: "boot",
  }),
  upgradeCopies: integer(2, 0, 100, {
    description: "Number of copies of the state, made before upgrades, to keep on the state volume.",
    example: "5",
  }),
  stopTimeout: integer(60, 1, 3600, {
    description: "Time that running sandboxes get to stop when the server stops.",
    example: "120",
    unit: "seconds",
  }),
  logMaxSize: text("100m", /^[1-9]\d{0,5}[kmg]$/, {
    description: "Size at which the container's log file is rotated.",
    accepts: "a whole number with k, m or g, like 100m",
    example: "20m",
    suggest: (given) => given.trim().toLowerCase().replace(/i?b$/, ""),
  }),
  logMaxFiles: integer(3, 1, 1000, { description: "Number of log files to keep.", example: "5" }),
});

/** The settings after parsing: sizes in bytes, times in seconds, CPUs as numbers, defaults filled in. */
export type StackSettings = z.infer<typeof settingsSchema>;

/** The settings of one host. */
export type HostSettings = Omit<StackSettings, "hosts" | "cluster">;

/** The settings of one host before they are checked: plain values, all of them optional. */
export type SettingsInput = Omit<z.input<typeof settingsSchema>, "hosts" | "cluster">;

/** Each image is pulled by a resource of its name. */
function refuseDoubles(images: readonly string[], context: z.RefinementCtx): void {
  for (const [index, image] of images.entries())
    if (images.indexOf(image) < index)
      context.addIssue({ code: "custom", path: [index], message: "it is in the list already" });
}

function asSshHost(given: string): string {
  const address = given.trim().replace(/^\w+:\/\//, "");
  return `ssh://${address.includes("@") ? address : `root@${address}`}`;
}

function asArchitecture(given: string): string | undefined {
  if (/^(x86[_-]?64|x64)$/i.test(given)) return "amd64";
  if (/^(aarch64|armv8)$/i.test(given)) return "arm64";
  return nearest(given, ["auto", "amd64", "arm64"]);
}
