import type * as pulumi from "@pulumi/pulumi";

/** The two volumes of the server. */
export interface VolumesArgs {
  /**
   * Name of the volume for the server's state (sandboxes, images, keys); derived from project, name and stack if not set.
   * Accepted: a volume name: at least 2 letters, digits, `_`, `.` or `-`.
   * @example "sandboxes-state"
   */
  state?: pulumi.Input<string>;
  /**
   * Name of the volume mounted at /workspace in the server; derived from project, name and stack if not set.
   * Accepted: a volume name: at least 2 letters, digits, `_`, `.` or `-`.
   * @example "sandboxes-workspace"
   */
  workspace?: pulumi.Input<string>;
  /**
   * Keep both volumes when the stack is destroyed.
   * @default true
   * @example false
   */
  keep?: boolean;
  /**
   * Refuse to destroy the stack or to rename a volume while this is true.
   * @default false
   * @example true
   */
  protect?: boolean;
}

/** TLS certificate of the server: one signed by a CA of the stack, or your own. */
export interface CertificateArgs {
  /**
   * Create a CA and a certificate signed by it; `up` renews the certificate every 60 days. The output `caCertificate` is the CA certificate.
   * @default false
   * @example true
   */
  generate?: boolean;
  /**
   * DNS names and addresses that clients use for the server. `generate` adds them to the certificate; your own certificate must be valid for all of them.
   * Accepted: a list of names and addresses, like ["sandboxes.example.com"].
   * @default []
   * @example ["sandboxes.example.com"]
   */
  names?: pulumi.Input<pulumi.Input<string>[]>;
  /**
   * Your own certificate, followed by its intermediate certificates.
   * Accepted: PEM text of one certificate or more.
   * @example "-----BEGIN CERTIFICATE-----…"
   */
  certificate?: pulumi.Input<string>;
  /**
   * Your own certificate as a file on the deploying machine; every `up` reads it again. Relative paths start at the Pulumi project.
   * Accepted: the path of a file with PEM text.
   * @example "/etc/letsencrypt/live/example.com/fullchain.pem"
   */
  certificateFile?: string;
  /**
   * Private key of the certificate; pass it as a secret.
   * Accepted: PEM text of the private key that belongs to the certificate.
   * @example "-----BEGIN PRIVATE KEY-----…"
   */
  key?: pulumi.Input<string>;
  /**
   * Private key of the certificate, as a file on the deploying machine. Relative paths start at the Pulumi project.
   * Accepted: the path of a file with PEM text.
   * @example "/etc/letsencrypt/live/example.com/privkey.pem"
   */
  keyFile?: string;
}

/** Registries that sandbox images come from. */
export interface RegistryAccessArgs {
  /**
   * Mirror to pull from, by registry; clients keep using the original image names.
   * Accepted: an object of prefixes by registry, each ending in /.
   * @default {}
   * @example {"docker.io": "mirror.test/hub/"}
   */
  mirrors?: pulumi.Input<Record<string, pulumi.Input<string>>>;
  /**
   * CA certificates of private registries.
   * Accepted: PEM text of one certificate or more.
   * @example "-----BEGIN CERTIFICATE-----…"
   */
  certificates?: pulumi.Input<string>;
  /**
   * Registries without TLS (plain http).
   * Accepted: a list of registries, like ["localhost:5000"].
   * @default []
   * @example ["localhost:5000"]
   */
  plainHttp?: pulumi.Input<pulumi.Input<string>[]>;
  /**
   * Credentials by registry; pass the passwords as secrets.
   * Accepted: an object by registry, each of username and password.
   * @default {}
   * @example {"ghcr.io":{"username": "…"}}
   */
  logins?: pulumi.Input<Record<string, pulumi.Input<LoginArgs>>>;
  /**
   * The only registries that images may come from; any public registry if not set.
   * Accepted: a list of registries, *.example.com for all subdomains, "*" for any public one.
   * @example ["docker.io", "*.example.com"]
   */
  allowed?: pulumi.Input<pulumi.Input<string>[]>;
}

/** Credentials for a registry. */
export interface LoginArgs {
  /**
   * User of the registry.
   * @example "builder"
   */
  username: pulumi.Input<string>;
  /**
   * Password or token; pass it as a secret.
   * @example "…"
   */
  password: pulumi.Input<string>;
}

/** SHA-256 of microsandbox's download for each processor. */
export interface WheelHashArgs {
  /**
   * SHA-256 of the download for amd64.
   * Accepted: 64 hexadecimal digits in lower case.
   * @example "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
   */
  amd64?: pulumi.Input<string>;
  /**
   * SHA-256 of the download for arm64.
   * Accepted: 64 hexadecimal digits in lower case.
   * @example "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
   */
  arm64?: pulumi.Input<string>;
}
