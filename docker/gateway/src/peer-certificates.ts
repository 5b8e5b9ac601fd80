import type { Certificates } from "./backends/remote/serve";
import { CertificateFiles } from "./certificate-files";
import { ConfigError } from "./errors";
import type { OpenOptions } from "./open-options";

/**
 * What servers and routers know each other by; undefined where they are on one machine, and nobody else is.
 * @param renewed takes it whenever the files hold something else, too
 */
export function peerCertificates(
  { config, metrics, log, onClose }: OpenOptions,
  renewed: (certificates: Certificates) => void,
): Certificates | undefined {
  const { PEER_TLS_FILE: path, PEER_CA_FILE: authorityPath } = config;
  if ((path === undefined) !== (authorityPath === undefined))
    throw new ConfigError("PEER_TLS_FILE and PEER_CA_FILE: either both are set, or neither");
  if (path === undefined) return undefined;
  let current: Certificates | undefined;
  const use = (pem: string, ca = "") => {
    current = { cert: pem, key: pem, ca };
    renewed(current);
  };
  const endsSoon = "the certificate of PEER_TLS_FILE ends soon: put another one in its place";
  const files = new CertificateFiles({ path, authorityPath, use, endsSoon, log });
  onClose(async () => files.close());
  metrics.watchPeerCertificate(files.endsAt);
  if (!current)
    throw new ConfigError(`PEER_TLS_FILE and PEER_CA_FILE: ${path} and ${authorityPath} can't be used`);
  return current;
}
