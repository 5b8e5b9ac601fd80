import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { isIP } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** PEM. */
export type Issued = { cert: string; key: string };

/** An authority of a test, which signs certificates for whatever usage. It is in files until `remove`. */
export class CertificateAuthority {
  private readonly folder = mkdtempSync(join(tmpdir(), "authority-"));
  readonly certificate: string;

  constructor() {
    this.run(["req", "-x509", ...NEW_KEY, "-days", "1", "-subj", "/CN=authority"], "ca.key", "ca.pem");
    this.certificate = this.read("ca.pem");
  }

  /**
   * @param name a host name or an IP address
   * @param usage for example "serverAuth"; none: the certificate says nothing of it
   */
  issue(name: string, usage?: string): Issued {
    this.run(["req", ...NEW_KEY, "-subj", `/CN=${name}`], "key", "request");
    const lines = [
      `subjectAltName=${isIP(name) ? "IP" : "DNS"}:${name}`,
      ...(usage ? [`extendedKeyUsage=${usage}`] : []),
    ];
    writeFileSync(join(this.folder, "extensions"), `${lines.join("\n")}\n`);
    const signer = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1"];
    this.openssl(["x509", "-req", "-in", "request", ...signer, "-extfile", "extensions", "-out", "pem"]);
    return { cert: this.read("pem"), key: this.read("key") };
  }

  remove = (): void => rmSync(this.folder, { recursive: true, force: true });

  private run = (args: string[], key: string, out: string) =>
    this.openssl([...args, "-keyout", key, "-out", out]);
  private openssl = (args: string[]) => execFileSync("openssl", args, { cwd: this.folder, stdio: "pipe" });
  private read = (file: string) => readFileSync(join(this.folder, file), "utf8");
}

const NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-sha256"];
