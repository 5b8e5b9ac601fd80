import type * as z from "zod";
import { toDotPath } from "zod/v4/core";
import { invalidSpec } from "../errors";
import { checkSecrets } from "../sandboxes/secrets";
import { type SandboxSpec, sandboxSpec } from "../sandboxes/spec";
import type { CreateBody } from "./schema/sandbox";

/** Credentials that serve one pull and are kept nowhere. */
export type RegistryLogin = { username: string; password: string };

export type CreateRequest = {
  spec: SandboxSpec;
  slug: string;
  login?: RegistryLogin;
  /** Credentials of the stack must not serve the pull. */
  anonymous?: boolean;
};

/** Fields of the wider API that this server has no answer to: refused, so that none is dropped. */
const UNSUPPORTED_NETWORK = ["ports", "dns", "tls", "interface", "rate_limits", "nat64_prefixes"];

/**
 * Brings a create body of either client generation into its normal form, and refuses what
 * would reach the server itself: its paths, its environment.
 * @throws ServiceError 400 invalid_sandbox_config, with the field and the reason.
 */
export function readCreateRequest(body: CreateBody): CreateRequest {
  const { image: _image, source: _source, registry, slug, ...rest } = body;
  const reference = imageOf(body);
  refuseServerPaths(body);
  if (body.network.secrets) checkSecrets(body.network.secrets);
  refuseUnsupportedNetwork(body);
  if (registry?.mode === "specific")
    throw invalidSpec("registry: this server keeps no registry credentials by id; use mode inline or auto");
  const parsed = sandboxSpec.safeParse({ ...rest, reference, network: oneLimit(body.network) });
  if (!parsed.success) throw invalidSpec(explain(parsed.error));
  return {
    spec: parsed.data,
    slug: slug ?? body.name,
    login:
      registry?.mode === "inline" ? { username: registry.username, password: registry.password } : undefined,
    anonymous: registry?.mode === "anonymous",
  };
}

function oneLimit({ max_connections, max_tcp_connections, ...network }: CreateBody["network"]) {
  return { ...network, max_connections: max_connections ?? max_tcp_connections };
}

function imageOf(body: CreateBody): string {
  const { image, source, reference } = body;
  if (source !== undefined && source !== "oci")
    throw invalidSpec(`source: ${JSON.stringify(source)} is not supported; only "oci" is`);
  if (typeof image === "object" && image.type !== "oci")
    throw invalidSpec(
      `image: type ${JSON.stringify(image.type)} names a path of the server; only "oci" is supported`,
    );
  const found = reference ?? (typeof image === "object" ? image.reference : image);
  if (typeof found !== "string" || found === "")
    throw invalidSpec("reference: an OCI image reference is needed");
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

function refuseUnsupportedNetwork({ network }: CreateBody): void {
  for (const field of UNSUPPORTED_NETWORK)
    if (!isEmpty(network[field])) throw invalidSpec(`network.${field}: not supported by this server`);
  if (network.trust_host_cas === true)
    throw invalidSpec("network.trust_host_cas: not supported: they would be the server's certificates");
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null) return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}

/** All mistakes of a body in one line, each with its path. */
export function explain(error: z.core.$ZodError): string {
  return error.issues
    .map((issue) => `${issue.path.length ? `${toDotPath(issue.path)}: ` : ""}${issue.message}`)
    .join("; ");
}
