import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { expect, test, vi } from "vitest";
import { temporaryFolder, until } from "./harness";
import { bearer, withKeys } from "./with-keys";

const FILES = "/v1/volumes/00000000-0000-4000-8000-000000000002/files";
const at = (path: string) => ({ "x-msb-file-path": Buffer.from(path).toString("base64url") });

/** A getfattr that takes long where there is a file "slow"; the ids of all that have begun. */
function slowGetfattr() {
  const folder = temporaryFolder();
  const log = join(folder, "log");
  const script = `#!/bin/sh\nif [ -e ${folder}/slow ]; then echo $$ >>${log}; sleep 600; fi\nexec /usr/bin/getfattr "$@"\n`;
  writeFileSync(join(folder, "getfattr"), script, { mode: 0o755 });
  writeFileSync(join(folder, "slow"), "");
  vi.stubEnv("PATH", `${folder}:${process.env.PATH}`);
  return () => (existsSync(log) ? readFileSync(log, "utf8").trim().split("\n").map(Number) : []);
}

const runs = (pid: number): boolean => existsSync(`/proc/${pid}`) && !/\) Z /.test(statOf(pid));
function statOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return ") Z ";
  }
}

/** Whatever asks for the attributes of a file. */
const requests = fc.constantFrom(
  { method: "GET", path: `${FILES}/stat`, headers: at("/f") },
  { method: "GET", path: FILES, headers: at("/") },
  { method: "GET", path: `${FILES}/content`, headers: at("/f") },
  { method: "PUT", path: `${FILES}/content`, headers: at("/f"), body: "new" },
  { method: "POST", path: `${FILES}/copy`, headers: {}, body: { from: "/f", to: "/g" } },
);

test("a program that reads attributes ends with the request that it is for, and gives its turn back", async () => {
  const keys = ["ann", "bob"].map((id) => ({ id, key: id }));
  const { gateway } = await withKeys(keys, { LIMIT_DISK_RESERVE_MIB: "0" });
  // As guests leave them: what such a file is, its attributes tell.
  writeFileSync(join(gateway.home, "workspace", "f"), "old", { mode: 0o600 });
  await fc.assert(
    fc.asyncProperty(fc.array(requests, { minLength: 1, maxLength: 6 }), async (all) => {
      const begun = slowGetfattr();
      const client = new AbortController();
      const over = all.map(({ method, path, headers, ...rest }) =>
        gateway
          .request(method, path, {
            ...rest,
            headers: { ...bearer("ann"), ...headers },
            signal: client.signal,
          })
          .catch(() => undefined),
      );
      // One key has two of the four turns.
      await until(() => begun().length >= Math.min(2, all.length), "some to begin");
      client.abort();
      await Promise.all(over);
      await until(() => !begun().some(runs), "their end");
      vi.unstubAllEnvs();
      const answer = await gateway.get(`${FILES}/stat`, { ...bearer("bob"), ...at("/f") });
      expect(answer.status).toBe(200);
      expect(readFileSync(join(gateway.home, "workspace", "f"), "utf8")).toBe("old");
    }),
    { numRuns: 8, endOnFailure: true },
  );
}, 60_000);
