import type * as pulumi from "@pulumi/pulumi";
import type { Architecture, EgressLevel, ImageEngine, KvmCheckLevel } from "./choices";
import type { CertificateArgs, RegistryAccessArgs, VolumesArgs, WheelHashArgs } from "./groups";
import type { KeyArgs } from "./keys";
import type { LimitsArgs } from "./limits";

/**
 * What a sandbox service is made of; every field may be left out. An `Input` may be an output of another resource, or a
 * secret. The others decide which resources there are, so they have to be known at once.
 */
export interface MicrosandboxArgs {
  /**
   * Version of microsandbox. Accepted: a version like 0.7.11.
   * @default "0.7.11"
   * @example "0.6.18"
   */
  version?: pulumi.Input<string>;
  /** SHA-256 of the downloads of a version that this project has no hash for, per architecture. */
  versionSha256?: WheelHashArgs;
  /**
   * Tag of the `debian` image that the server is built on; 13 or newer.
   * Accepted: a tag of the debian image, like 13.2-slim.
   * @default "13.2-slim"
   * @example "13.2"
   */
  debianVersion?: pulumi.Input<string>;
  /**
   * Put before the name of the base image, to pull it from a registry of your own.
   * Accepted: nothing, or a registry (and path) that ends in /.
   * @default ""
   * @example "registry.example.com/mirror/"
   */
  registryPrefix?: pulumi.Input<string>;
  /**
   * A server image that somebody has built, by its digest; `npm run image -- push` makes one. Built here if not set.
   * Accepted: repository@sha256:… with 64 hexadecimal digits, and no tag.
   * @example "registry.example.com/team/server@sha256:0000000000000000000000000000000000000000000000000000000000000000"
   */
  serverImage?: pulumi.Input<string>;
  /**
   * Whose engine builds the image or pulls `serverImage`: this machine's, which sends it, or the host's own. `auto` builds here, and has the host pull.
   * @default "auto"
   * @example "host"
   */
  build?: ImageEngine;
  /**
   * Registry (and path) that the server's image is pushed to and every host pulls from.
   * Accepted: a registry with or without a path, like registry.example.com/team.
   * @example "registry.example.com/team"
   */
  registry?: pulumi.Input<string>;
  /**
   * User of `registry`, or of the registry of `serverImage`; the `docker login` of each machine holds if not set.
   * Accepted: a name without a colon.
   * @example "builder"
   */
  registryUser?: pulumi.Input<string>;
  /**
   * Password of `registryUser`; give it as a secret.
   * @example "…"
   */
  registryPassword?: pulumi.Input<string>;
  /**
   * Let the server pull an image that a sandbox asks for and that isn't there.
   * @default true
   * @example false
   */
  autoPullImages?: pulumi.Input<boolean>;
  /**
   * Check no API key. Only on a loopback address, unless `exposeDevMode` is set.
   * @default true
   * @example false
   */
  devMode?: boolean;
  /**
   * Allow dev mode where other machines reach it: any of them can run code.
   * @default false
   * @example true
   */
  exposeDevMode?: boolean;
  /**
   * The key that clients send where `devMode` is false; give it as a secret.
   * Accepted: 32 to 256 letters, digits or . _ ~ + / = -.
   * @example "msb_0123456789abcdef0123456789abcdef"
   */
  apiKey?: pulumi.Input<string>;
  /**
   * Make a key where `apiKey` is not set; see the output `apiKey`. It stays as long as this is true and `apiKey` is not set.
   * @default true
   * @example false
   */
  makeApiKey?: boolean;
  /**
   * More keys, as their SHA-256 hashes; give them as a secret.
   * Accepted: a list as `npm run keys -- add` writes it.
   * @default []
   * @example [{"id": "ci", "hash": "sha256:0000000000000000000000000000000000000000000000000000000000000000"}]
   */
  keys?: pulumi.Input<pulumi.Input<KeyArgs>[]>;
  /**
   * Show a sandbox or a volume to the key alone that made it.
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
   * CPUs that the server and its sandboxes can use at most.
   * Accepted: a number of CPUs from 0.1 to 1024, like 2 or 0.5.
   * @default 4
   * @example 0.5
   */
  cpuLimit?: pulumi.Input<number>;
  /**
   * Weight on a busy host (CPU shares, 1024 a CPU); at most `cpuLimit`.
   * Accepted: a number of CPUs from 0.1 to 1024, like 2 or 0.5.
   * @default 1
   * @example 2
   */
  cpuReservation?: pulumi.Input<number>;
  /**
   * Memory that server and sandboxes can use at most.
   * Accepted: a size from 256M to 64T in whole mebibytes, like 4G, 512M or 1.5g.
   * @default "4G"
   * @example "16G"
   */
  memoryLimit?: pulumi.Input<string>;
  /**
   * Memory that a host short of it leaves the server (the soft limit); at most `memoryLimit`.
   * Accepted: a size from 64M to 64T in whole mebibytes, like 4G, 512M or 1.5g.
   * @default "1G"
   * @example "512M"
   */
  memoryReservation?: pulumi.Input<string>;
  /**
   * Processes and threads in the server; those inside a sandbox are not counted.
   * Accepted: a whole number from 64 to 4194304.
   * @default 4096
   * @example 16384
   */
  pidsLimit?: pulumi.Input<number>;
  /**
   * Where the server runs: on this machine, over SSH on another (which the same program may make), or on an emulated one with KVM. An address that is known only later has to be an `ssh://` one.
   * Accepted: local, emulated or ssh://user@address[:port].
   * @default "local"
   * @example "ssh://root@kvm.example.com"
   */
  host?: pulumi.Input<string>;
  /**
   * Private key for an `ssh://` host; ssh's own choice if not set. Only its path is stored.
   * @example "~/.ssh/id_ed25519"
   */
  sshKeyFile?: pulumi.Input<string>;
  /**
   * Known host keys for an `ssh://` host; ssh's own file if not set.
   * @example "~/.ssh/known_hosts"
   */
  sshKnownHostsFile?: pulumi.Input<string>;
  /**
   * Memory of the emulated host; at least `memoryLimit`.
   * Accepted: a size from 2G to 1T in whole mebibytes, like 4G, 512M or 1.5g.
   * @default "6G"
   * @example "8G"
   */
  emulatedMemory?: pulumi.Input<string>;
  /**
   * Disk of the emulated host; only used room is taken.
   * Accepted: a size from 8G to 16T in whole mebibytes, like 4G, 512M or 1.5g.
   * @default "20G"
   * @example "40G"
   */
  emulatedDisk?: pulumi.Input<string>;
  /**
   * Processor of host and image; `auto` asks the host's engine. An emulated host gets the one named here.
   * @default "auto"
   * @example "arm64"
   */
  architecture?: Architecture;
  /**
   * Run the server privileged; `false` gives it /dev/kvm and nothing more.
   * @default true
   * @example false
   */
  privileged?: boolean;
  /**
   * Images to pull while deploying, so that the first sandbox needn't wait.
   * Accepted: a list of image references, like ["alpine:3.22"].
   * @default []
   * @example ["alpine:3.22"]
   */
  images?: string[];
  /** How the server gets at the registries of sandbox images: mirrors, authorities, credentials. */
  registries?: RegistryAccessArgs;
  /** How the server proves who it is; without it, it speaks plain http. */
  tls?: CertificateArgs;
  /**
   * Refuse args that are only fit for trying, each with the line that corrects it.
   * @default false
   * @example true
   */
  production?: boolean;
  /**
   * Allow plain http where other machines reach it: keys and data can be read on the way.
   * @default false
   * @example true
   */
  exposeHttp?: boolean;
  /**
   * What sandboxes may reach: nothing, the public internet, or private networks too; never the server.
   * @default "public"
   * @example "none"
   */
  egress?: pulumi.Input<EgressLevel>;
  /**
   * What sandboxes may reach besides: ranges, addresses or names, each with a port or without.
   * Accepted: a list of addresses, ranges and names, like ["10.1.2.0/24","api.example.com:443"].
   * @default []
   * @example ["10.1.2.0/24"]
   */
  egressAllow?: pulumi.Input<pulumi.Input<string>[]>;
  /** The two volumes: their names, and whether a destroy keeps them. */
  volumes?: VolumesArgs;
  /** What the server allows at most: sandboxes, memory, CPUs, time, volumes, requests. */
  limits?: LimitsArgs;
  /**
   * What every `up` checks: nothing, /dev/kvm, or that and the boot of one microVM.
   * @default "device"
   * @example "boot"
   */
  kvmCheck?: KvmCheckLevel;
  /**
   * Copies of the state, made before upgrades, that stay on the state volume.
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
   * Log files that are kept.
   * Accepted: a whole number from 1 to 1000.
   * @default 3
   * @example 5
   */
  logMaxFiles?: pulumi.Input<number>;
}
