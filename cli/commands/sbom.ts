import { writeFileSync } from "node:fs";
import { hostArgv } from "../../components/host/connection";
import { exec } from "../../setup/exec";
import { createReporter } from "../../setup/report";
import { UserError } from "../../setup/user-error";
import { cannotWrite } from "../file-errors";
import { deployedServer, type ServerSelection } from "./sandbox";

/** Where docker/Dockerfile puts it. */
const SBOM = "/usr/share/microsandbox/sbom.cdx.json";

/** `npm run sbom -- [FILE]`: the bill of materials of the image that a server runs from, as CycloneDX JSON. */
export async function sbom(file: string | undefined, asked: ServerSelection): Promise<void> {
  const report = createReporter();
  const { stack, connection, container } = await deployedServer(asked, report);
  const [program = "docker", ...words] = hostArgv(connection, ["docker", "exec", container, "cat", SBOM]);
  const read = () => exec(program, words, { stdin: "ignore", reject: false });
  const { exitCode, stdout, stderr } = await report.wait("reading the SBOM from the server", read);
  if (exitCode !== 0)
    throw new UserError(
      `The SBOM could not be read from the server: ${stderr.trim()}\n` +
        `Expected: a running server of this version. To get one: npm run up -- --stack ${stack}`,
    );
  if (file === undefined) return console.log(stdout);
  try {
    writeFileSync(file, `${stdout}\n`);
  } catch (error) {
    throw cannotWrite(file, error, "the name of a file");
  }
}
