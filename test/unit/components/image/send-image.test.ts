import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { script } from "../../../../components/host/scripts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "send-image-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Two engines: this machine's has an image of two layers, the host's another one with the first of them. */
function engines(driver: string): void {
  const archive = join(folder, "archive");
  mkdirSync(join(archive, "one"), { recursive: true });
  mkdirSync(join(archive, "two"));
  for (const layer of ["one", "two"]) writeFileSync(join(archive, layer, "layer.tar"), layer);
  writeFileSync(join(archive, "manifest.json"), '[{"Layers":["one/layer.tar","two/layer.tar"]}]');
  mkdirSync(join(folder, "here"));
  mkdirSync(join(folder, "there"));
  const here = `case "$1 \${4-}" in
    "image {{.Id}}") echo sha256:here ;;
    "image {{json"*) echo '["sha256:one","sha256:two"]' ;;
    save*) tar -c -C '${archive}' . ;;
  esac`;
  const there = `case "$*" in
    info*) echo '${driver}' ;;
    images*) echo sha256:other ;;
    *RootFS*) echo '["sha256:one","sha256:three"]' ;;
    "image inspect"*) [ -e '${folder}/loaded' ] || exit 1; echo sha256:there ;;
    load) tar -t | grep layer.tar | sort >'${folder}/loaded' ;;
    *) exit 1 ;;
  esac`;
  for (const [name, body] of [
    ["here", here],
    ["there", there],
  ] as const)
    writeFileSync(join(folder, name, "docker"), `#!/bin/sh\n${body}\n`, { mode: 0o755 });
}

function send(): { id: string; loaded: string[] } {
  const at = (side: string) => `env 'PATH=${join(folder, side)}:${process.env.PATH}'`;
  const id = execFileSync("sh", ["-s"], {
    input: script("image/send-image"),
    env: {
      PATH: `${join(folder, "here")}:${process.env.PATH}`,
      REFERENCE: "sandboxes:1",
      HOST_SHELL: `${at("there")} sh -s`,
      LOADER: `${at("there")} docker load`,
    },
    encoding: "utf8",
    stdio: ["pipe", "pipe", "ignore"],
  });
  return { id: id.trim(), loaded: readFileSync(join(folder, "loaded"), "utf8").trim().split("\n") };
}

it("leaves out the layers that the host's engine has", () => {
  engines("[[Backing Filesystem extfs]]");
  expect(send()).toEqual({ id: "sha256:there", loaded: ["./two/layer.tar"] });
});

it("28: sends an engine with containerd's image store all of them, and takes the id that it gives", () => {
  engines("[[driver-type io.containerd.snapshotter.v1]]");
  expect(send()).toEqual({ id: "sha256:there", loaded: ["./one/layer.tar", "./two/layer.tar"] });
});
