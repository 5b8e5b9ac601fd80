import { script } from "../../components/host/scripts";
import { keysPath, serverHome, settingsFiles } from "../../components/server/stack-files";
import type { VolumeEntry } from "./archive";

const workspace = "/workspace";

/** Where the server has its volumes. */
const folders: Record<VolumeEntry, string> = { "state.tar.zst": serverHome, "workspace.tar.zst": workspace };

/** Not in a backup: settings, sockets and locks of running sandboxes, copies of the state, and what a restore unpacked. */
const left = [...settingsFiles, "run", "copies", ".restored", ".incoming", ".outgoing"];

// busybox's sh prefers its own tar, which knows neither sparse disks nor extended attributes.
const tar = "/usr/bin/tar --numeric-owner --xattrs --xattrs-include='user.*'";
const zstd = (make: string) =>
  `node -e 'const z=require("node:zlib");require("node:stream").pipeline(process.stdin,z.${make},process.stdout,(e)=>{if(e){console.error(e.message);process.exit(1)}})'`;
const compress = zstd("createZstdCompress({params:{[z.constants.ZSTD_c_compressionLevel]:1}})");
const decompress = zstd("createZstdDecompress()");

/** Prints a volume as a compressed tar file. */
export const packScript = (entry: VolumeEntry): string =>
  `set -euo pipefail; ${tar} -C ${folders[entry]} ${left.map((path) => `--exclude=./${path}`).join(" ")} -cS . | ${compress}`;

/** Prints what the content of a backup takes on the disk, in bytes. */
export const sizeScript = (entry: VolumeEntry): string =>
  `cd ${folders[entry]}; used=$(ls -A | grep -vx ${left.map((path) => `-e '${path}'`).join(" ")} | tr '\\n' '\\0' | xargs -0 -r du -skc | tail -n 1 | cut -f 1); echo $((\${used:-0} * 1024))`;

/**
 * Prints what is missing for a restore, which has both states on the disk; nothing where there is room. What one that was cut
 * off has left goes first.
 *
 * @param needed bytes
 */
export function roomScript(needed: Record<VolumeEntry, number>): string {
  const unpacked = `${serverHome}/copies/.part ${serverHome}/copies/restored-*`;
  const kib = (entry: VolumeEntry) => Math.ceil((needed[entry] * 1.1) / 1024);
  return `set -eu
look() { # look FOLDER KIB LEFT...: whether there is room in FOLDER
  cd "$1"; needed=$2; shift 2
  free=$(df -kP . | tail -n 1 | tr -s " " | cut -d " " -f 4)
  left=$(du -skc "$@" 2>/dev/null | tail -n 1 | cut -f 1)
  [ $((free + \${left:-0})) -ge "$needed" ] || echo "$((needed / 1024)) MiB are needed, $((free / 1024)) MiB are free"
}
if [ "$(stat -c %d ${serverHome})" = "$(stat -c %d ${workspace})" ]; then
  look ${serverHome} ${kib("state.tar.zst") + kib("workspace.tar.zst")} ${unpacked} ${workspace}/.restored
else
  look ${serverHome} ${kib("state.tar.zst")} ${unpacked}
  look ${workspace} ${kib("workspace.tar.zst")} ${workspace}/.restored
fi`;
}

/** Name of what a restore unpacks, as components/server/swap.sh knows it. @example "restored-20260131T180000Z" */
export const restoredName = (now: Date): string =>
  `restored-${now.toISOString().replaceAll(/[-:]|\.\d+/g, "")}`;

/** Unpacks a volume beside its present content. */
export function unpackScript(entry: VolumeEntry, name: string): string {
  const into = entry === "state.tar.zst" ? "copies/.part" : `.restored/${name}`;
  return `set -euo pipefail; cd ${folders[entry]}; rm -rf ${into}; mkdir -p ${into}; ${decompress} | ${tar} -C ${into} -xpS`;
}

/** Puts what was unpacked in the place of what is there, if `commitScript` has said so; it goes on where it was cut off. */
export const finishScript = (): string =>
  ["set -eu", script("server/swap"), `workspace=${workspace}`, `cd ${serverHome}`, "swap_pending"].join("\n");

/**
 * The same before a server starts, where no upgrade is at work: it also goes back from one whose test was cut off, by a power
 * loss. Servers refuse that state (docker/gateway/src/backends/msb/half-state.ts); what an older one has made of it is kept.
 */
export const finishAllScript = (): string =>
  finishScript().replace(
    /swap_pending$/,
    `if [ ! -e copies/.failed ] && read -r name keep 2>/dev/null <copies/.pending && [ -z "$keep" ]; then
  case $name in restored-*) ;; *) echo "$name $(replaced)" >copies/.pending.new; sync; mv copies/.pending.new copies/.pending ;; esac
fi
swap_pending`,
  );

/** The same for a restore, and any exchange that has begun: what is left is for an `up`. */
export const finishHalfScript = (): string =>
  finishScript().replace(
    /swap_pending$/,
    "if [ ! -e copies/.pending ] || [ -e copies/.failed ] || grep -q ^restored- copies/.pending; then swap_pending; fi",
  );

/**
 * Removes what a restore has unpacked that failed or was cut off before `commitScript`. What an earlier version's restore was cut off
 * at may be all that is left of the state: it is refused.
 */
export const clearScript = `set -eu
for each in ${serverHome}/.outgoing ${workspace}/.outgoing; do
  [ ! -e "$each" ] || { echo "$each exists: what was there before a restore that was cut off. Nothing was changed.
  to go on without it: remove that folder in the server's container" >&2; exit 1; }
done
rm -rf ${serverHome}/.incoming ${serverHome}/copies/.pending.new ${serverHome}/copies/.part ${serverHome}/copies/restored-* ${workspace}/.restored ${workspace}/.incoming`;

/**
 * Makes what was unpacked what the stack is to have, without a touch to what is there: with the stack's own settings, and
 * of the server's user. Its last step makes it the state: `finishScript` does what that means.
 *
 * @param keepKeys whether the stack's own keys stay, too
 * @param user who the server is, in Docker's form: all becomes its own. Empty for root, who may write to anybody's
 */
export function commitScript(name: string, keepKeys: boolean, user: string): string {
  const stays = [...settingsFiles, ...(keepKeys ? [keysPath] : [])];
  const [uid = "0"] = user.split(":");
  const own = `find copies/.part ${workspace}/.restored ! -user ${uid} -exec chown -h ${uid}:${uid} {} +`;
  return `set -eu
cd ${serverHome}
for each in ${stays.join(" ")}; do
  rm -rf "copies/.part/$each"
  [ ! -e "$each" ] || { mkdir -p "$(dirname "copies/.part/$each")" && cp -a "$each" "copies/.part/$each"; }
done
${Number(uid) > 0 ? own : ":"}
mv copies/.part copies/${name}
echo ${name} >copies/.pending.new
sync
mv copies/.pending.new copies/.pending
sync`;
}

/** Counts what a restore would replace: sandboxes, volumes, snapshots and files of the workspace. */
export const contentScript = `for folder in sandboxes volumes snapshots; do
  [ ! -d ${serverHome}/$folder ] || count=$(ls ${serverHome}/$folder | wc -l)
  [ "\${count:-0}" = 0 ] || echo "$count $folder"; count=0
done
count=$(ls -A /workspace | grep -cv '^lost+found$') || true
[ "$count" = 0 ] || echo "$count files or folders in /workspace"`;
