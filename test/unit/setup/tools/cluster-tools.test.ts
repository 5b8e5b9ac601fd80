import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { GoBuilder } from "../../../../offline/go-build";
import { clusterRecipes } from "../../../../offline/kubernetes";
import { goRoot } from "../../../../offline/sources";
import { silentReporter } from "../../../../setup/report";
import { clusterRelease } from "../../../../setup/tools/cluster-releases";
import { resolveClusterTools } from "../../../../setup/tools/resolve";
import type { ClusterToolName } from "../../../../setup/tools/types";

let cache: string;
let built: string[];
let server: Server | undefined;

beforeEach(() => {
  cache = mkdtempSync(join(tmpdir(), "cluster-tools-"));
  built = [];
});
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  server = undefined;
  rmSync(cache, { recursive: true });
});

const build: GoBuilder = async ({ name, version }, output) => {
  built.push(name);
  writeFileSync(output, `#!/bin/sh\necho built ${version}\n`);
};
const run = (program: string) => execFileSync(program, { encoding: "utf8" }).trim();
const at = (base: string) => (name: ClusterToolName) => ({ ...clusterRelease(name), base });

describe("the programs of a cluster", () => {
  it("are built one by one where the vendor's site does not answer, and then are there", async () => {
    const context = { cache, release: at("http://127.0.0.1:1/x"), build };
    const first = await resolveClusterTools(context, ["etcd", "kube-apiserver"], silentReporter);
    expect(built).toEqual(["etcd", "kube-apiserver"]);
    expect(run(first.etcd)).toBe("built 3.7.3");
    expect(run(first["kube-apiserver"])).toBe("built 1.37.2");
    expect(await resolveClusterTools(context, ["kube-apiserver"], silentReporter)).toEqual({
      "kube-apiserver": first["kube-apiserver"],
    });
    expect(built).toHaveLength(2);
  });

  it("are the vendor's where it answers: a program, or an archive that holds it", async () => {
    const program = "#!/bin/sh\necho from the vendor\n";
    const folder = clusterRelease("etcd").program.split("/")[0] ?? "";
    const made = join(cache, "made");
    mkdirSync(join(made, folder), { recursive: true });
    writeFileSync(join(made, folder, "etcd"), program, { mode: 0o755 });
    const archive = execFileSync("tar", ["-cz", "-C", made, folder]);
    const digest = (data: Buffer | string) => createHash("sha256").update(data).digest("hex");
    const files: Record<string, Buffer | string> = {
      "/kube-apiserver": program,
      "/kube-apiserver.sha256": digest(program),
      [`/${folder}.tar.gz`]: archive,
      "/SHA256SUMS": `${digest("another")}  another.zip\n${digest(archive)}  ${folder}.tar.gz\n`,
    };
    server = createServer((request, response) => {
      const file = files[request.url ?? ""];
      response.writeHead(file ? 200 : 404).end(file);
    });
    await new Promise<void>((ready) => server?.listen(0, "127.0.0.1", ready));
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const names = ["etcd", "kube-apiserver"] as const;
    const tools = await resolveClusterTools({ cache, release: at(base), build }, names, silentReporter);
    expect(names.map((name) => run(tools[name]))).toEqual(["from the vendor", "from the vendor"]);
    expect(built).toEqual([]);
  });

  it("are asked for at the vendor's addresses, by architecture", () => {
    expect(clusterRelease("kubelet", "arm64")).toMatchObject({
      base: "https://dl.k8s.io/release/v1.37.2/bin/linux/arm64",
      archive: "kubelet",
      checksums: "kubelet.sha256",
    });
    expect(clusterRelease("etcd", "x64").archive).toBe("etcd-v3.7.3-linux-amd64.tar.gz");
    // One archive holds all three.
    expect({ ...clusterRelease("ctr"), program: "" }).toEqual({
      ...clusterRelease("containerd"),
      program: "",
    });
  });

  it("are pinned in the version that they are named by", () => {
    const pinned = (dir: string) => readFileSync(join(goRoot, dir, "go.mod"), "utf8");
    expect(pinned("coredns")).toContain(
      `require github.com/coredns/coredns v${clusterRecipes.coredns.version}\n`,
    );
    for (const { dir, version, packagePath } of Object.values(clusterRecipes)) {
      // A main of ours, of the parts that are needed.
      if (packagePath === ".") continue;
      const module = packagePath.split("/cmd/")[0];
      expect(pinned(dir)).toContain(`require ${module} v${version}\n`);
      expect(readFileSync(join(goRoot, dir, "tools.go"), "utf8")).toContain(`"${packagePath}"`);
    }
    // What is generated stays in the module.
    expect(readdirSync(join(goRoot, "pulumi-resource-kubernetes"))).toEqual(["go.mod", "go.sum", "main.go"]);
  });
});
