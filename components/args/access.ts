import type * as pulumi from "@pulumi/pulumi";
import type { CertificateArgs } from "./groups";
import type { KeyArgs } from "./keys";

/** Who can use the server, and where. */
export interface AccessArgs {
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
  generateApiKey?: boolean;
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
  isolateByKey?: pulumi.Input<boolean>;
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
  /** TLS certificate of the server; without one it serves plain http. */
  tls?: CertificateArgs;
  /**
   * Allow plain http on an address that other machines can reach: API keys and data can be read in transit.
   * @default false
   * @example true
   */
  exposeHttp?: boolean;
  /**
   * Refuse args that are only suitable for testing; each error names the fix.
   * @default false
   * @example true
   */
  production?: boolean;
}
