import type { OfficialRelease } from "./official";
import { clusterVersions } from "./pins";
import type { ClusterToolName } from "./types";

/** A release, and the path of the program in what it is unpacked to. */
export interface ClusterRelease extends OfficialRelease {
  program: string;
}

/** Where the vendors publish the pinned versions of a cluster's programs, with the checksums beside them. */
export function clusterRelease(name: ClusterToolName, arch: string = process.arch): ClusterRelease {
  const cpu = arch === "x64" ? "amd64" : arch;
  if (name === "etcd") {
    const version = clusterVersions.etcd;
    const folder = `etcd-v${version}-linux-${cpu}`;
    return {
      name,
      version,
      base: `https://github.com/etcd-io/etcd/releases/download/v${version}`,
      archive: `${folder}.tar.gz`,
      checksums: "SHA256SUMS",
      program: `${folder}/etcd`,
    };
  }
  if (name === "coredns") {
    const version = clusterVersions.coredns;
    const archive = `coredns_${version}_linux_${cpu}.tgz`;
    return {
      name,
      version,
      base: `https://github.com/coredns/coredns/releases/download/v${version}`,
      archive,
      checksums: `${archive}.sha256`,
      program: name,
    };
  }
  if (name === "containerd" || name === "containerd-shim-runc-v2" || name === "ctr") {
    const version = clusterVersions.containerd;
    // The one whose programs run on any libc, as what is built here does.
    const archive = `containerd-static-${version}-linux-${cpu}.tar.gz`;
    return {
      name: "containerd",
      version,
      base: `https://github.com/containerd/containerd/releases/download/v${version}`,
      archive,
      checksums: `${archive}.sha256sum`,
      program: `bin/${name}`,
    };
  }
  const version = clusterVersions.kubernetes;
  return {
    name,
    version,
    base: `https://dl.k8s.io/release/v${version}/bin/linux/${cpu}`,
    archive: name,
    checksums: `${name}.sha256`,
    program: name,
  };
}
