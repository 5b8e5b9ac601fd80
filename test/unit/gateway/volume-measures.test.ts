import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, existsSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import * as fc from "fast-check";
import { afterEach, expect, test, vi } from "vitest";
import { FolderBytes } from "../../../docker/gateway/src/backends/msb/folder-bytes";
import { RecordStore } from "../../../docker/gateway/src/backends/msb/record-store";
import { VolumeIndex } from "../../../docker/gateway/src/backends/msb/volume-index";
import { type VolumeRecord, volumeRecord } from "../../../docker/gateway/src/backends/msb/volume-record";
import { GIB } from "../../../docker/gateway/src/sandboxes/volume-files";
import { atFileEnd } from "../../harness/file-end";
import { running, settled } from "./backend-contract/world";
import { temporaryFolder, until as untilWithin } from "./harness";
import { MsbWorld } from "./msb-world";

const until = (holds: () => boolean, what: string) => untilWithin(holds, what, 60_000);
const DU = execFileSync("sh", ["-c", "command -v du"], { encoding: "utf8" }).trim();
const realNow = performance.now.bind(performance);

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

/** Volumes in folders, of owners whose names are those of the volumes up to a dash, and what is measured of them. */
class Measured {
  private passed = 0;
  /** Measures that failed, as the log tells. */
  failures = 0;
  readonly home = temporaryFolder();
  private readonly records = new Map<string, VolumeRecord>();

  private constructor(
    readonly index: VolumeIndex,
    private readonly store: RecordStore<VolumeRecord>,
    readonly bytes = new FolderBytes({
      ...{ index, path: (handle) => join(this.home, handle), isWritten: () => false },
      log: { warn: () => void this.failures++, error: () => undefined },
    }),
  ) {
    atFileEnd(() => bytes.close());
    vi.spyOn(performance, "now").mockImplementation(() => realNow() + this.passed);
  }

  static async of(...ids: string[]): Promise<Measured> {
    const store = await RecordStore.open(temporaryFolder(), volumeRecord, { error: () => undefined });
    const made = new Measured(new VolumeIndex(store), store);
    for (const id of ids) await made.add(id);
    return made;
  }

  private async add(id: string): Promise<void> {
    mkdirSync(this.folder(id));
    const owner = id.split("-")[0] ?? id;
    const record = { id, handle: id, name: id, owner, labels: {}, createdAt: "", capacityBytes: null };
    this.records.set(id, { ...record, state: "active" });
    await this.store.put({ ...record, state: "active" });
  }

  folder = (id: string) => join(this.home, id);
  taken = (owner: string) => Math.round(this.index.usage(owner).volumeGib * GIB);

  /** The clock goes on by so much. */
  pass(seconds: number): void {
    this.passed += seconds * 1000;
  }

  /** Begins what is due, where something has changed in those. */
  sweep(...ids: string[]): void {
    for (const id of ids) this.bytes.note(this.records.get(id) as VolumeRecord);
    this.bytes.sweep();
  }
}

/** Has a script in the place of du, which may call the true one. */
function duIs(script: string): void {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "du"), `#!/bin/sh\nfor folder; do :; done\n${script}\n`);
  chmodSync(join(folder, "du"), 0o755);
  vi.stubEnv("PATH", `${folder}:${process.env.PATH}`);
}

/** Ways for du to give no figure of a folder that is there. */
const failure = fc.oneof(
  fc.constantFrom("kill -9 $$", "kill -15 $$", "exit 1", "exit 0"),
  fc
    .constantFrom("No such file or directory", "Input/output error")
    .map((why) => `echo "du: cannot access '$folder/f': ${why}" >&2; exit 1`),
  fc.constant("head -c 40000000 /dev/zero >&2; exit 1"),
);

test("a folder that du gives no figure of keeps what it had, and the others get theirs", async () => {
  const ids = ["ann-1", "ann-2", "ann-3"];
  await fc.assert(
    fc.asyncProperty(fc.subarray(ids), failure, async (failing, how) => {
      const volumes = await Measured.of(...ids);
      const { taken } = volumes;
      const write = (id: string, name: string) =>
        writeFileSync(join(volumes.folder(id), name), Buffer.alloc(4096, 1));
      for (const id of ids) write(id, "f");
      volumes.sweep();
      await until(() => taken("ann") === 3 * 4096, "what is there to be measured");
      const done = join(volumes.home, "done");
      const cases = ["nothing", ...failing].map((id) => `*/${id}`).join(" | ");
      duIs(`case $folder in */ann-3) : >${done} ;; esac
        case $folder in ${cases}) ${how} ;; *) exec ${DU} "$@" ;; esac`);
      for (const id of ids) write(id, "g");
      volumes.pass(3600);
      volumes.sweep(...ids);
      await until(() => existsSync(done), "the last one to be looked at");
      const now = (6 - failing.length) * 4096;
      await until(() => taken("ann") === now, `${taken("ann")} to be ${now}`);
      await until(() => volumes.failures === Math.min(1, failing.length), "the measure to end");
      vi.unstubAllEnvs();
      volumes.pass(3600);
      // Those that failed are measured again without being told of.
      await until(() => {
        volumes.sweep();
        return taken("ann") === 6 * 4096;
      }, "the next measure");
      rmSync(volumes.folder("ann-2"), { recursive: true });
      volumes.pass(3600);
      volumes.sweep(...ids);
      await until(() => taken("ann") === 4 * 4096, "a folder that went to count no more");
      volumes.bytes.close();
    }),
    { numRuns: 8, endOnFailure: true },
  );
}, 120_000);

test("what a measure takes of the memory is bounded, however many files and links guests make", async () => {
  const volumes = await Measured.of("ann-files", "ann-links");
  for (const id of ["ann-files", "ann-links"])
    for (let folder = 0; folder < 100; folder++) {
      const at = join(volumes.folder(id), `d${folder}`);
      mkdirSync(at);
      for (let file = 0; file < 100; file++) {
        writeFileSync(join(at, `f${file}`), "");
        if (id === "ann-links") linkSync(join(at, `f${file}`), join(at, `l${file}`));
      }
    }
  const isEnough = (kib: number, id: string, ...options: string[]) =>
    spawnSync("sh", ["-c", `ulimit -v ${kib}; exec ${DU} "$@"`, "sh", "-s", ...options, volumes.folder(id)])
      .stdout.length > 0;
  // Too little to keep which files with several links it has seen, and enough for all else.
  let kib = 1500;
  while (!isEnough(kib, "ann-files") || !isEnough(kib, "ann-links", "-l")) kib += 200;
  expect(isEnough(kib, "ann-links")).toBe(false);
  const limits = join(volumes.home, "limits");
  duIs(`ulimit -v >>${limits}; ulimit -v ${kib}; exec ${DU} "$@"`);
  volumes.sweep();
  const isMeasured = (id: string) => volumes.index.isMeasured(id);
  await until(() => isMeasured("ann-files") && isMeasured("ann-links"), "both to be measured");
  expect(volumes.taken("ann")).toBeGreaterThanOrEqual(2 * 100 * 4096);
  for (const limit of readFileSync(limits, "utf8").trim().split("\n")) expect(limit).toMatch(/^\d+$/);
}, 120_000);

test("a volume is measured again within minutes, however long its measure had to wait for those of others", async () => {
  const owners = ["ann", "bob", "cid", "dan"];
  const volumes = await Measured.of(...owners);
  const { home } = volumes;
  duIs(`echo >>$folder.asked; until [ -e ${home}/go ]; do sleep 0.05; done; exec ${DU} "$@"`);
  const asked = (owner: string) =>
    existsSync(`${volumes.folder(owner)}.asked`)
      ? readFileSync(`${volumes.folder(owner)}.asked`, "utf8").length
      : 0;
  volumes.sweep();
  await until(() => owners.filter((owner) => asked(owner) === 1).length === 2, "two measures to begin");
  const waited = owners.filter((owner) => asked(owner) === 0);
  volumes.pass(600);
  writeFileSync(join(home, "go"), "");
  await until(() => owners.every((owner) => volumes.index.isMeasured(owner)), "all to be measured");
  volumes.pass(150);
  await until(() => {
    volumes.sweep(...owners);
    return waited.every((owner) => asked(owner) === 2);
  }, "those that waited to be measured again");
  // What took ten minutes has its pause.
  expect(owners.filter((owner) => asked(owner) === 1)).toHaveLength(2);
}, 60_000);

test("a volume is measured while a guest that has it runs, and once more when that is paused or has ended", async () => {
  const world = await MsbWorld.make();
  const { volumes, sandboxes } = world.backend;
  const { id } = await volumes.create({ name: "data", labels: {}, owner: "ann" });
  const asked = join(world.home, "asked");
  writeFileSync(asked, "");
  duIs(`echo >>${asked}; exec ${DU} "$@"`);
  const measures = () => readFileSync(asked, "utf8").length;
  let passed = 0;
  vi.spyOn(performance, "now").mockImplementation(() => realNow() + passed);
  const sweep = async () => {
    passed += 3_600_000;
    await world.backend.sweep();
    await sleep(50);
  };
  const sweepUntil = async (holds: () => Promise<boolean>, what: string) => {
    await untilWithin(() => sweep().then(holds), what, 60_000);
  };
  const holds = (bytes: number) => async () =>
    Math.round((await world.backend.usage("ann")).volumeGib * GIB) === bytes;
  const isAtRest = async () => {
    const before = measures();
    for (let turn = 0; turn < 5; turn++) await sweep();
    return measures() === before;
  };
  const mounts = [{ type: "named", name: "data", guest: "/data" }];
  const box = await running(world, "box", { spec: { mounts } });
  const write = (name: string) => writeFileSync(join(world.home, "volumes", id, name), Buffer.alloc(4096, 1));
  const is = async (desired: "running" | "paused" | "stopped") => {
    await sandboxes.want(box.id, desired);
    await settled(world, box.id);
  };
  write("f");
  await sweepUntil(holds(4096), "what it writes while it runs to be counted");
  for (const [at, still] of (["paused", "paused", "stopped"] as const).entries()) {
    write(`f${at}`);
    await is(still);
    await sweepUntil(holds((at + 2) * 4096), `what it wrote until it was ${still} to be counted`);
    await sweepUntil(isAtRest, `nothing to be measured once it is ${still}`);
    // From here to the next round it is in use for less than the time between two sweeps.
    await is("running");
  }
}, 120_000);
