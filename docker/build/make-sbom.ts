/**
 * Prints the bill of materials of the server's image, as CycloneDX JSON: the gateway's npm packages (what `npm sbom`
 * says, on standard input), the Debian packages, and the programs that come from wheels. It says the same for the
 * same content: no time, no random number.
 *
 *   npm sbom … | ARCHITECTURE=… MICROSANDBOX_VERSION=… node make-sbom.ts ROOT…
 *
 * ROOT are the folders that the image is put together from.
 */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

interface Component {
  type: string;
  name: string;
  version: string;
  "bom-ref": string;
  purl?: string;
  cpe?: string;
  supplier?: { name: string };
  hashes?: { alg: string; content: string }[];
  properties?: { name: string; value: string }[];
}

/** What is read and changed of npm's document. */
interface Bom {
  serialNumber?: string;
  metadata: { timestamp?: string; component: Component };
  components: Component[];
  dependencies: { ref: string; dependsOn: string[] }[];
}

const roots = process.argv.slice(2);
const { ARCHITECTURE = "", MICROSANDBOX_VERSION = "" } = process.env;

/** The path of a file of the image here. */
function find(path: string): string {
  const found = roots.map((root) => join(root, path)).find(existsSync);
  if (found === undefined) throw new Error(`None of ${roots.join(", ")} holds ${path}`);
  return found;
}

/** The Debian packages: one file each, with the fields of its control file. */
function debianPackages(): Component[] {
  const folder = find("var/lib/dpkg/status.d");
  const release = /^VERSION_ID="?([\d.]+)/m.exec(readFileSync(find("usr/lib/os-release"), "utf8"))?.[1];
  return readdirSync(folder)
    .sort()
    .map((file) => {
      const control = readFileSync(join(folder, file), "utf8");
      const field = (name: string) => new RegExp(`^${name}: *(.+)$`, "m").exec(control)?.[1] ?? "";
      const [name, version, architecture] = [field("Package"), field("Version"), field("Architecture")];
      const purl = `pkg:deb/debian/${encodeURIComponent(name)}@${encodeURIComponent(version)}?arch=${architecture}&distro=debian-${release}`;
      return {
        ...{ type: "library", name, version, "bom-ref": purl, purl },
        supplier: { name: field("Maintainer") },
        properties: [{ name: "aquasecurity:trivy:SrcName", value: field("Source").split(" ")[0] || name }],
      };
    });
}

/** A program that is one file of the image, with the hash of that file. */
function program(path: string, type: string, name: string, version: string, ids: object): Component {
  const content = createHash("sha256")
    .update(readFileSync(find(path)))
    .digest("hex");
  const properties = [{ name: "path", value: `/${path}` }];
  return {
    ...{ type, name, version, "bom-ref": `${name}@${version}`, ...ids },
    hashes: [{ alg: "SHA-256", content }],
    properties,
  };
}

/** node, msb, and the library that carries the guests' kernel. */
function programs(): Component[] {
  const node = process.versions.node;
  const lib = find("usr/local/lib");
  const file = readdirSync(lib).find((name) => name.startsWith("libkrunfw.so.")) ?? "libkrunfw.so";
  const firmware = `usr/local/lib/${file}`;
  const version = file.slice("libkrunfw.so.".length);
  const kernel = /Linux version (\d[\w.]*)/.exec(readFileSync(join(lib, file), "latin1"))?.[1];
  if (kernel === undefined) throw new Error(`${firmware} names no kernel`);
  return [
    program("usr/local/bin/node", "application", "node", node, {
      purl: `pkg:generic/node@${node}`,
      cpe: `cpe:2.3:a:nodejs:node.js:${node}:*:*:*:*:*:*:*`,
    }),
    program("usr/local/bin/msb", "application", "msb", MICROSANDBOX_VERSION, {
      purl: `pkg:pypi/microsandbox@${MICROSANDBOX_VERSION}`,
    }),
    program(firmware, "library", "libkrunfw", version, { purl: `pkg:generic/libkrunfw@${version}` }),
    {
      ...{ type: "operating-system", name: "linux", version: kernel, "bom-ref": `linux@${kernel}` },
      purl: `pkg:generic/linux@${kernel}`,
      cpe: `cpe:2.3:o:linux:linux_kernel:${kernel}:*:*:*:*:*:*:*`,
      properties: [{ name: "path", value: `/${firmware}` }],
    },
  ];
}

const { serialNumber: _random, ...bom }: Bom = JSON.parse(readFileSync(0, "utf8"));
const { timestamp: _now, component: gateway, ...metadata } = bom.metadata;
const parts = [{ ...gateway, type: "application" }, ...programs(), ...debianPackages()];
const image: Component = {
  ...{ type: "container", name: "microsandbox-stack-server", version: MICROSANDBOX_VERSION },
  "bom-ref": "image",
  properties: [{ name: "architecture", value: ARCHITECTURE }],
};
const whole: Bom = {
  ...bom,
  metadata: { ...metadata, component: image },
  components: [...parts, ...bom.components],
  dependencies: [
    { ref: image["bom-ref"], dependsOn: parts.map((part) => part["bom-ref"]) },
    ...bom.dependencies,
  ],
};
console.log(JSON.stringify(whole, undefined, 1));
