import { execFileSync } from "node:child_process";
import { withVariables } from "../../components/host/connection";
import { script } from "../../components/host/scripts";
import { certificateScript } from "../../components/server/certificate";

const run = (text: string) => execFileSync("sh", ["-s"], { input: text, encoding: "utf8" });

/** An authority, and a way to its certificates, made by the stack's own scripts; they are good for 90 days by default. */
export function testAuthority(): { certificate: string; issue: (names: string[], days?: number) => string } {
  const authority = run(withVariables({ NAME: "test authority" }, script("server/tls-authority")));
  return {
    certificate: authority.slice(authority.indexOf("-----BEGIN CERTIFICATE")),
    issue: (names, days = 90) =>
      run(
        certificateScript(authority, names, "serverAuth").replace(/^export DAYS=.*$/m, `export DAYS=${days}`),
      ),
  };
}
