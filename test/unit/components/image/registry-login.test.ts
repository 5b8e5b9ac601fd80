import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { withVariables } from "../../../../components/host/connection";
import { script } from "../../../../components/host/scripts";
import { exec } from "../../../../setup/exec";

/** The docker client is the machine's own; the engine that it talks to is this one, which knows what it was asked. */
const PASSWORD = "s3cret-of-the-registry'$(id)";
let folder: string;
let engine: Server;
let logins: { username: string; password: string; serveraddress: string }[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "microsandbox-login-"));
  logins = [];
  engine = createServer(async (request, response) => {
    response.setHeader("API-Version", "1.41").setHeader("OSType", "linux");
    if (!request.url?.endsWith("/auth")) return response.end("{}");
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const login = JSON.parse(Buffer.concat(chunks).toString());
    logins.push(login);
    if (login.password !== PASSWORD) response.statusCode = 401;
    return response.end('{"Status":"Login Succeeded","message":"incorrect username or password"}');
  });
  await new Promise<void>((resolve) => engine.listen(join(folder, "engine.sock"), resolve));

  // The context in use leads to the engine; without it there is none.
  mkdirSync(join(folder, "home/.docker"), { recursive: true });
  const run = (...words: string[]) => exec("docker", words, { env: environment(), extendEnv: false });
  await run("context", "create", "other", "--docker", `host=unix://${folder}/engine.sock`);
  await run("context", "use", "other");

  // A program of that name would take what is stored; and the one before the client looks at what it is given.
  mkdirSync(join(folder, "bin"));
  writeFileSync(
    join(folder, "bin/docker-credential-pass"),
    `#!/bin/sh\ntouch ${folder}/helper-asked\nexit 1\n`,
  );
  const docker = (await exec("sh", ["-c", "command -v docker"])).stdout;
  writeFileSync(
    join(folder, "bin/docker"),
    `#!/bin/sh\n{ env; echo "$*"; } >>${folder}/seen\nexec ${docker} "$@"\n`,
  );
  for (const each of readdirSync(join(folder, "bin"))) chmodSync(join(folder, "bin", each), 0o755);
});
afterEach(async () => {
  await new Promise((resolve) => engine.close(resolve));
  rmSync(folder, { recursive: true });
});

const environment = () => ({
  PATH: `${folder}/bin${delimiter}${process.env.PATH}`,
  HOME: join(folder, "home"),
  TMPDIR: folder,
});

/** Runs a script as pushing and pulling do: behind the login, on standard input. */
function withLogin(registry: string, password: string, end: string) {
  const input = withVariables(
    { REGISTRY: registry, STACK: "prod" },
    `${script("image/registry-login")}\n${end}`,
    {
      REGISTRY_USER: "me",
      REGISTRY_PASSWORD: password,
    },
  );
  return exec("sh", ["-s"], { input, env: environment(), extendEnv: false, reject: false });
}

describe("the login to a registry for one run", () => {
  it.each([
    ["registry.example.com:5000", "registry.example.com:5000"],
    ["docker.io", "https://index.docker.io/v1/"],
  ])("to %s is kept where the client looks for it", async (registry, entry) => {
    const { stdout, stderr } = await withLogin(registry, PASSWORD, 'cat "$DOCKER_CONFIG/config.json"');
    expect(stderr).toBe("");
    expect(Object.keys(JSON.parse(stdout).auths)).toContain(entry);
    expect(logins).toEqual([{ username: "me", password: PASSWORD, serveraddress: entry }]);
  });

  it("leaves nothing behind, and what the user has as it was", async () => {
    const before = readFileSync(join(folder, "home/.docker/config.json"), "utf8");
    const files = readdirSync(folder);
    await withLogin("docker.io", PASSWORD, ":");
    expect(readdirSync(folder).filter((each) => each !== "seen")).toEqual(files);
    expect(readFileSync(join(folder, "home/.docker/config.json"), "utf8")).toBe(before);
  });

  it("goes to the engine of the context in use, and so does what comes after it", async () => {
    const { stdout } = await withLogin(
      "docker.io",
      PASSWORD,
      "docker context show; docker version --format x",
    );
    expect(stdout).toBe("other\nx");
  });

  it("shows the password to no program", async () => {
    await withLogin("docker.io", PASSWORD, "docker version");
    const seen = readFileSync(join(folder, "seen"), "utf8");
    expect(seen).toContain("login --username me");
    expect(seen).toContain("REGISTRY=docker.io");
    expect(seen).not.toContain(PASSWORD);
  });

  it("says what to type where it is refused, and does nothing after it", async () => {
    const { exitCode, stdout, stderr } = await withLogin("docker.io", "wrong", "echo went on");
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: "" });
    expect(stderr).toContain("incorrect username or password");
    expect(stderr).toContain("pulumi config set microsandbox:registryUser NAME --stack prod");
  });
});
