import { invalidSpec } from "../errors";
import type { RegistryLogin } from "../sandboxes/backend";
import { checkKept } from "../sandboxes/payload";
import { checkSecrets } from "../sandboxes/secrets";
import type { Snapshot } from "../sandboxes/snapshots";
import type { SandboxSpec } from "../sandboxes/spec";
import type { CreateBody } from "./schema/sandbox";

export type CreateRequest = {
  spec: SandboxSpec;
  slug: string;
  login?: RegistryLogin;
  /** Credentials of the stack must not serve the pull. */
  anonymous?: boolean;
  /** Id of the snapshot that it starts from. */
  snapshot?: string;
};

/**
 * Brings a checked create body of either client generation into its normal form, and refuses what
 * would reach the server itself: its paths, its environment.
 * @param snapshot what {@link calledSnapshot} names
 * @throws ServiceError 400 invalid_sandbox_config, with the field and the reason.
 */
export function readCreateRequest(body: CreateBody, snapshot?: Snapshot): CreateRequest {
  const { image: _image, source: _source, disk_snapshot_ref: _ref, registry, slug, network, ...rest } = body;
  const reference = snapshot ? snapshot.manifest.image.ref : imageOf(body);
  const spec: SandboxSpec = { ...rest, reference, network: oneLimit(network) };
  refuseServerPaths(body);
  if (network.secrets) checkSecrets(network.secrets);
  if (registry?.mode === "specific")
    throw invalidSpec("registry: this server keeps no registry credentials by id; use mode inline or auto");
  checkKept(spec);
  return {
    spec,
    slug: slug ?? body.name,
    login:
      registry?.mode === "inline" ? { username: registry.username, password: registry.password } : undefined,
    anonymous: registry?.mode === "anonymous",
    snapshot: snapshot?.id,
  };
}

/**
 * What a body calls the snapshot that the sandbox is to start from, if it is: its id, else its name.
 * @throws ServiceError 400 invalid_sandbox_config
 */
export function calledSnapshot(body: CreateBody): string | undefined {
  const { source, disk_snapshot_ref: ref, reference, image, registry } = body;
  if (source !== "disk_snapshot") {
    if (ref) throw invalidSpec('disk_snapshot_ref: only with source "disk_snapshot"');
    return undefined;
  }
  if (!ref) throw invalidSpec('disk_snapshot_ref: needed with source "disk_snapshot"');
  const own = "the snapshot says what it starts from";
  if (reference !== undefined) throw invalidSpec(`reference: not with source "disk_snapshot": ${own}`);
  if (image !== undefined) throw invalidSpec(`image: not with source "disk_snapshot": ${own}`);
  if (registry?.mode === "inline") throw invalidSpec("registry: a snapshot is not pulled from one");
  return ref.id;
}

function oneLimit({ max_connections, max_tcp_connections, ...network }: CreateBody["network"]) {
  return { ...network, max_connections: max_connections ?? max_tcp_connections };
}

function imageOf(body: CreateBody): string {
  const { image, reference } = body;
  if (typeof image === "object" && image.type !== "oci")
    throw invalidSpec(
      `image: type ${JSON.stringify(image.type)} names a path of the server; only "oci" is supported`,
    );
  const found = reference ?? (typeof image === "object" ? image.reference : image);
  if (found === undefined) throw invalidSpec("reference: an OCI image reference is needed");
  return found;
}

function refuseServerPaths({ mounts, patches }: CreateBody): void {
  for (const [index, mount] of mounts.entries()) {
    const { type } = mount;
    if (type === "bind" || type === "disk_image")
      throw invalidSpec(
        `mounts[${index}]: ${type} names a path of the server, not of your machine; copy files in, or mount a named volume`,
      );
    if (type === "tmpfs" && (mount.options.override_uid ?? mount.options.override_gid) !== undefined)
      throw invalidSpec(`mounts[${index}].options: override_uid and override_gid are for named volumes only`);
    if (type === "owned") throw invalidSpec(`mounts[${index}]: owned volumes are not supported`);
  }
  for (const [index, { type }] of patches.entries()) {
    if (type === "copy_file" || type === "copy_dir")
      throw invalidSpec(
        `patches[${index}]: ${type} names a path of the server, not of your machine; send the content (type text or file)`,
      );
  }
}
