import type * as pulumi from "@pulumi/pulumi";

/** The two volumes of the server. */
export interface VolumesArgs {
  /**
   * Name of the volume that holds microsandbox's home; from project, name and stack if not set.
   * Accepted: a volume name: at least 2 letters, digits, `_`, `.` or `-`.
   * @example "sandboxes-state"
   */
  state?: pulumi.Input<string>;
  /**
   * Name of the volume that is /workspace in the server; from project, name and stack if not set.
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
   * Refuse to destroy the stack, or to rename a volume, until this is false again.
   * @default false
   * @example true
   */
  protect?: boolean;
}

/** How the server proves who it is: with a certificate of its own authority, or with one of yours. */
export interface CertificateArgs {
  /**
   * Make an authority and a certificate of it, which a later `up` renews; see the output `authority`.
   * @default false
   * @example true
   */
  own?: boolean;
  /**
   * Names and addresses that clients call the server by: for a certificate of the stack's own besides the endpoint's, for one of yours those it is good for.
   * Accepted: a list of names and addresses, like ["sandboxes.example.com"].
   * @default []
   * @example ["sandboxes.example.com"]
   */
  names?: pulumi.Input<pulumi.Input<string>[]>;
  /**
   * A certificate of yours, with those between it and its authority.
   * Accepted: PEM text of one certificate or more.
   * @example "-----BEGIN CERTIFICATE-----…"
   */
  certificate?: pulumi.Input<string>;
  /**
   * The same as a file of the machine that deploys, read by each `up`. A relative path starts at the Pulumi project.
   * Accepted: the path of a file with PEM text.
   * @example "/etc/letsencrypt/live/example.com/fullchain.pem"
   */
  certificateFile?: string;
  /**
   * Its private key; give it as a secret.
   * Accepted: PEM text of the private key that belongs to the certificate.
   * @example "-----BEGIN PRIVATE KEY-----…"
   */
  key?: pulumi.Input<string>;
  /**
   * The same as a file of the machine that deploys. A relative path starts at the Pulumi project.
   * Accepted: the path of a file with PEM text.
   * @example "/etc/letsencrypt/live/example.com/privkey.pem"
   */
  keyFile?: string;
}

/** How the server gets at the registries that sandbox images come from. */
export interface RegistryAccessArgs {
  /**
   * What to pull images of a registry from instead; clients go on using the images' own names.
   * Accepted: an object of prefixes by registry, each ending in /.
   * @default {}
   * @example {"docker.io": "mirror.test/hub/"}
   */
  mirrors?: pulumi.Input<Record<string, pulumi.Input<string>>>;
  /**
   * Certificates of private authorities that sign registries' own.
   * Accepted: PEM text of one certificate or more.
   * @example "-----BEGIN CERTIFICATE-----…"
   */
  certificates?: pulumi.Input<string>;
  /**
   * Registries that have no TLS.
   * Accepted: a list of registries, like ["localhost:5000"].
   * @default []
   * @example ["localhost:5000"]
   */
  plainHttp?: pulumi.Input<pulumi.Input<string>[]>;
  /**
   * Credentials by registry; give the passwords as secrets.
   * Accepted: an object by registry, each of username and password.
   * @default {}
   * @example {"ghcr.io":{"username": "…"}}
   */
  logins?: pulumi.Input<Record<string, pulumi.Input<LoginArgs>>>;
  /**
   * The only registries that images may come from; any public one if not set.
   * Accepted: a list of registries, *.example.com for all below a domain, "*" for any public one.
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
   * Password or token; give it as a secret.
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
