import type * as pulumi from "@pulumi/pulumi";
import type { Architecture, EgressLevel, ImageEngine, KvmCheckLevel } from "./choices";
import type { CertificateArgs, RegistryAccessArgs, VolumesArgs, WheelHashArgs } from "./groups";
import type { KeyArgs } from "./keys";
import type { LimitsArgs } from "./limits";

/**
 * Arguments of a sandbox service; all are optional. An `Input` may be an output of another resource or a secret. The
 * others decide which resources exist, so they must be plain values.
 */
export interface MicrosandboxArgs {
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
   * Docker engine that builds the image or pulls `serverImage`: this machine's (`here`, which then sends the image to the host) or the host's (`host`). `auto` builds here and pulls on the host.
   * @default "auto"
   * @example "host"
   */
  build?: ImageEngine;
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
  /**
   * Pull the image of a new sandbox if it is not in the server's cache.
   * @default true
   * @example false
   */
  autoPullImages?: pulumi.Input<boolean>;
  /**
   * Accept requests without an API key. Only on a loopback address, unless `exposeDevMode` is true.
   * @default true
   * @example false
   */
  devMode?: boolean;
  /**
   * Allow dev mode on an address that other machines can reach: all of them can run code.
   * @default false
   * @example true
   */
  exposeDevMode?: boolean;
  /**
   * API key that clients send when `devMode` is false; pass it as a secret.
   * Accepted: 32 to 256 letters, digits or . _ ~ + / = -.
   * @example "msb_0123456789abcdef0123456789abcdef"
   */
  apiKey?: pulumi.Input<string>;
  /**
   * Generate an API key if `apiKey` is not set; the output `apiKey` has it. It stays the same while this is true and `apiKey` is not set.
   * @default true
   * @example false
   */
  makeApiKey?: boolean;
  /**
   * More API keys, as SHA-256 hashes; pass them as a secret.
   * Accepted: a list as `npm run keys -- add` writes it.
   * @default []
   * @example [{"id": "ci", "hash": "sha256:0000000000000000000000000000000000000000000000000000000000000000"}]
   */
  keys?: pulumi.Input<pulumi.Input<KeyArgs>[]>;
  /**
   * Separate API keys from each other: only the key that created a sandbox or volume can see and use it.
   * @default false
   * @example true
   */
  ownSandboxes?: pulumi.Input<boolean>;
  /**
   * Port of the gateway inside the container.
   * Accepted: a TCP port, a whole number from 1 to 65535.
   * @default 5555
   * @example 8080
   */
  port?: pulumi.Input<number>;
  /**
   * Port of the gateway on the host.
   * Accepted: a TCP port, a whole number from 1 to 65535.
   * @default 5555
   * @example 8080
   */
  hostPort?: pulumi.Input<number>;
  /**
   * Address on the host that `hostPort` listens on.
   * Accepted: an IP address, like 127.0.0.1 or 0.0.0.0.
   * @default "127.0.0.1"
   * @example "0.0.0.0"
   */
  bindAddress?: pulumi.Input<string>;
  /**
   * Time zone of the server.
   * Accepted: a name of the IANA time zone database, like UTC or Europe/Berlin.
   * @default "UTC"
   * @example "Europe/Berlin"
   */
  timezone?: pulumi.Input<string>;
  /**
   * CPU limit for the server and all its sandboxes together.
   * Accepted: a number of CPUs from 0.1 to 1024, like 2 or 0.5.
   * @default 4
   * @example 0.5
   */
  cpuLimit?: pulumi.Input<number>;
  /**
   * CPU weight on a busy host (CPU shares, 1024 per CPU); at most `cpuLimit`.
   * Accepted: a number of CPUs from 0.1 to 1024, like 2 or 0.5.
   * @default 1
   * @example 2
   */
  cpuReservation?: pulumi.Input<number>;
  /**
   * Memory limit for the server and all its sandboxes together.
   * Accepted: a size from 256M to 64T in whole mebibytes, like 4G, 512M or 1.5g.
   * @default "4G"
   * @example "16G"
   */
  memoryLimit?: pulumi.Input<string>;
  /**
   * Memory that the server keeps when the host runs short of it (Docker's soft limit); at most `memoryLimit`.
   * Accepted: a size from 64M to 64T in whole mebibytes, like 4G, 512M or 1.5g.
   * @default "1G"
   * @example "512M"
   */
  memoryReservation?: pulumi.Input<string>;
  /**
   * Limit of processes and threads in the container; those inside sandboxes do not count.
   * Accepted: a whole number from 64 to 4194304.
   * @default 4096
   * @example 16384
   */
  pidsLimit?: pulumi.Input<number>;
  /**
   * Where the server runs: on this machine, on another one over SSH (which the same program may create), or on an emulated one (QEMU) with KVM. An output must be an `ssh://` address.
   * Accepted: local, emulated or ssh://user@address[:port].
   * @default "local"
   * @example "ssh://root@kvm.example.com"
   */
  host?: pulumi.Input<string>;
  /**
   * Private key file for an `ssh://` host; ssh's default if not set. Only its path is stored.
   * @example "~/.ssh/id_ed25519"
   */
  sshKeyFile?: pulumi.Input<string>;
  /**
   * Host keys (known_hosts file) for an `ssh://` host; ssh's default if not set.
   * @example "~/.ssh/known_hosts"
   */
  sshKnownHostsFile?: pulumi.Input<string>;
  /**
   * Public key of an `ssh://` host, or several, one a line; instead of `sshKnownHostsFile`. No other key is accepted.
   * Accepted: public keys (ssh-ed25519 AAAA…), or lines of known_hosts, whose names are ignored.
   * @example "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
   */
  sshHostKey?: pulumi.Input<string>;
  /**
   * Memory of the emulated host; at least `memoryLimit`.
   * Accepted: a size from 2G to 1T in whole mebibytes, like 4G, 512M or 1.5g.
   * @default "6G"
   * @example "8G"
   */
  emulatedMemory?: pulumi.Input<string>;
  /**
   * Disk of the emulated host; sparse, it takes only the space in use.
   * Accepted: a size from 8G to 16T in whole mebibytes, like 4G, 512M or 1.5g.
   * @default "20G"
   * @example "40G"
   */
  emulatedDisk?: pulumi.Input<string>;
  /**
   * Architecture of host and image; `auto` asks the host's engine. An emulated host gets the one named here.
   * @default "auto"
   * @example "arm64"
   */
  architecture?: Architecture;
  /**
   * Run the server in a privileged container; `false` gives it /dev/kvm and no other privilege.
   * @default true
   * @example false
   */
  privileged?: boolean;
  /**
   * Images to pull during deployment, so that the first sandbox does not wait for them.
   * Accepted: a list of image references, like ["alpine:3.22"].
   * @default []
   * @example ["alpine:3.22"]
   */
  images?: string[];
  /** Registries of sandbox images: mirrors, CA certificates, credentials, and which ones are allowed. */
  registries?: RegistryAccessArgs;
  /** TLS certificate of the server; without one it serves plain http. */
  tls?: CertificateArgs;
  /**
   * Refuse args that are only suitable for testing; each error names the fix.
   * @default false
   * @example true
   */
  production?: boolean;
  /**
   * Allow plain http on an address that other machines can reach: API keys and data can be read in transit.
   * @default false
   * @example true
   */
  exposeHttp?: boolean;
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
  /** The server's two volumes: their names, and whether `destroy` keeps them. */
  volumes?: VolumesArgs;
  /** Limits that the server enforces: sandboxes, memory, CPUs, time, volumes, requests. */
  limits?: LimitsArgs;
  /**
   * What every `up` checks: nothing, /dev/kvm, or also that one microVM boots.
   * @default "device"
   * @example "boot"
   */
  kvmCheck?: KvmCheckLevel;
  /**
   * Number of copies of the state, made before upgrades, to keep on the state volume.
   * Accepted: a whole number from 0 to 100.
   * @default 2
   * @example 5
   */
  upgradeCopies?: pulumi.Input<number>;
  /**
   * Time that running sandboxes get to stop when the server stops.
   * Accepted: a whole number of seconds from 1 to 3600.
   * @default 60
   * @example 120
   */
  stopTimeout?: pulumi.Input<number>;
  /**
   * Size at which the container's log file is rotated.
   * Accepted: a whole number with k, m or g, like 100m.
   * @default "100m"
   * @example "20m"
   */
  logMaxSize?: pulumi.Input<string>;
  /**
   * Number of log files to keep.
   * Accepted: a whole number from 1 to 1000.
   * @default 3
   * @example 5
   */
  logMaxFiles?: pulumi.Input<number>;
}
