import type * as pulumi from "@pulumi/pulumi";
import type { Architecture, KvmCheckLevel } from "./choices";

/** The machine that the server runs on. */
export interface HostArgs {
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
   * What every `up` checks: nothing, /dev/kvm, or also that one microVM boots.
   * @default "device"
   * @example "boot"
   */
  kvmCheck?: KvmCheckLevel;
}
