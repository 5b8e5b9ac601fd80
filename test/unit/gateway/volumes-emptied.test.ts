import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { NO_QUOTA } from "../../../docker/gateway/src/backends/msb/volume-files/byte-quota";
import { VolumeFolder } from "./volume-folder";

/** More than one turn removes. */
const FILES = 80;
/** As many as there are turns for all owners. */
const VOLUMES = 4;

/** A volume with one file, and others that are full; how much is left in each of those. */
function full(count: number, files: number, inside = "") {
  const volume = new VolumeFolder();
  writeFileSync(volume.inside("f"), "x");
  const roots = Array.from({ length: count }, (_, index) => join(volume.home, "volumes", `full-${index}`));
  for (const root of roots) {
    mkdirSync(join(root, inside), { recursive: true });
    for (let file = 0; file < files; file++) writeFileSync(join(root, inside, `${file}`), "");
  }
  const left = () => roots.map((root) => readdirSync(root, { recursive: true }).length);
  return { volume, roots, left };
}

test.each([
  { owner: "ann", inside: "" },
  { owner: null, inside: "a/b" },
])(
  "volumes of $owner are emptied two at once, and another's files are answered meanwhile",
  async ({ owner, inside }) => {
    const { volume, roots, left } = full(VOLUMES, FILES, inside);
    const [before = 0] = left();
    const bobs = volume.store.named(volume.root, { owner: "bob" }, NO_QUOTA);
    let over = false;
    const under = Promise.all(roots.map((root) => volume.store.empty(root, owner))).finally(() => {
      over = true;
    });
    await bobs.stat(Buffer.from("/f"));
    // None is done before the answer comes.
    expect(left()).not.toContain(0);
    while (!over) {
      await bobs.stat(Buffer.from("/f"));
      expect(left().filter((each) => each > 0 && each < before).length).toBeLessThanOrEqual(2);
    }
    await under;
    expect(left()).toEqual(roots.map(() => 0));
  },
  120_000,
);

test("another owner's volume is emptied before those that wait", async () => {
  const { volume, roots } = full(VOLUMES, FILES);
  const done: string[] = [];
  const empty = (root: string, owner: string) =>
    volume.store.empty(root, owner).then(() => void done.push(owner));
  const anns = roots.map((root) => empty(root, "ann"));
  await empty(volume.root, "bob");
  expect(done.filter((owner) => owner === "ann").length).toBeLessThanOrEqual(2);
  await Promise.all(anns);
}, 120_000);

test("the files of a large folder are removed in many turns", async () => {
  const { volume, left } = full(2, 8 * FILES);
  const hers = volume.store.named(join(volume.home, "volumes"), { owner: "ann" }, NO_QUOTA);
  const remove = (name: string) => hers.remove(Buffer.from(name), { recursive: true });
  const removals = Promise.all(["/full-0", "/full-1"].map(remove));
  // Both places of one owner are in use, and what is asked for later still comes before the end.
  for (let times = 0; times < 3; times++) await hers.stat(Buffer.from("/v/f"));
  expect(left()).not.toContain(0);
  await removals;
  expect(readdirSync(join(volume.home, "volumes"))).toEqual(["v"]);
}, 120_000);
