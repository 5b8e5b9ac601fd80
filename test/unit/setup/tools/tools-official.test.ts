import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer, type RequestListener, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { silentReporter } from "../../../../setup/report";
import {
  ChecksumMismatch,
  download,
  findChecksum,
  type OfficialRelease,
  officialReleases,
  Unreachable,
} from "../../../../setup/tools/official";

let work: string;
let cache: string;
let archive: Buffer;
let server: Server | undefined;

beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), "tools-official-"));
  cache = join(work, "cache");
  mkdirSync(join(work, "in"));
  writeFileSync(join(work, "in", "tool"), "#!/bin/sh\necho hi\n", { mode: 0o755 });
  execFileSync("tar", ["-czf", join(work, "tool.tar.gz"), "-C", join(work, "in"), "tool"]);
  archive = readFileSync(join(work, "tool.tar.gz"));
});
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  server = undefined;
  rmSync(work, { recursive: true, force: true });
});

async function serve(listener: RequestListener): Promise<OfficialRelease> {
  server = createServer(listener);
  await new Promise<void>((ready) => server?.listen(0, "127.0.0.1", ready));
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { name: "tool", version: "1.0.0", base, archive: "tool.tar.gz", checksums: "sums.txt" };
}

const digest = (data: Buffer) => createHash("sha256").update(data).digest("hex");
const files = (sums: string, body: Buffer): RequestListener => {
  return (request, response) => response.end(request.url === "/sums.txt" ? sums : body);
};
const quick = { connect: 300, stall: 300, pauses: [1] };
/** Where the site answers, a busy machine is not to make it late. */
const patient = { connect: 20_000, stall: 20_000, pauses: [1, 1] };
const leftovers = () => (existsSync(cache) ? readdirSync(cache).filter((name) => !name.startsWith(".")) : []);

describe("the vendor's download", () => {
  it("is unpacked once its checksum is right, and not fetched again", async () => {
    let requests = 0;
    const good = files(`${digest(archive)}  tool.tar.gz\n`, archive);
    const release = await serve((request, response) => {
      requests++;
      good(request, response);
    });
    const dir = await download(cache, release, silentReporter, patient);
    expect(execFileSync(join(dir, "tool"), { encoding: "utf8" })).toBe("hi\n");
    expect(readdirSync(dir)).toEqual(["tool"]);
    await download(cache, release, silentReporter, patient);
    expect(requests).toBe(2);
  });

  it("may be the program itself", async () => {
    const program = Buffer.from("#!/bin/sh\necho I am it\n");
    const release = await serve(files(digest(program), program));
    const dir = await download(cache, { ...release, archive: "tool" }, silentReporter, patient);
    expect(execFileSync(join(dir, "tool"), { encoding: "utf8" })).toBe("I am it\n");
  });

  it("is refused where the file is another one than the vendor published", async () => {
    const tampered = Buffer.concat([archive, Buffer.from("x")]);
    const release = await serve(files(`${digest(archive)}  tool.tar.gz\n`, tampered));
    await expect(download(cache, release, silentReporter, patient)).rejects.toThrow(ChecksumMismatch);
    expect(leftovers()).toEqual([]);
  });

  it.each([
    ["lists other files only", `${"0".repeat(64)}  other.tar.gz\n`],
    ["is empty", ""],
    ["is a login page", "<html>tool.tar.gz</html>"],
  ])("is not taken where the checksum file %s", async (_what, sums) => {
    const release = await serve(files(sums, archive));
    await expect(download(cache, release, silentReporter, patient)).rejects.toThrow(Unreachable);
    expect(leftovers()).toEqual([]);
  });

  it("gives up soon on a site that is silent, absent, broken or breaks off", async () => {
    const silent = await serve(() => {});
    const started = Date.now();
    await expect(download(cache, silent, silentReporter, quick)).rejects.toThrow("no answer in time");
    expect(Date.now() - started).toBeLessThan(3_000);
    server?.closeAllConnections();
    await new Promise((closed) => server?.close(closed));
    await expect(download(cache, silent, silentReporter, quick)).rejects.toThrow(Unreachable);

    const missing = await serve((_request, response) => response.writeHead(404).end());
    await expect(download(cache, missing, silentReporter, patient)).rejects.toThrow("answered 404");
    server?.close();

    const stalling = await serve((request, response) => {
      if (request.url === "/sums.txt") response.end(`${digest(archive)}  tool.tar.gz\n`);
      else response.writeHead(200, { "content-length": archive.length }).write(archive.subarray(0, 10));
    });
    await expect(download(cache, stalling, silentReporter, quick)).rejects.toThrow(Unreachable);
    expect(leftovers()).toEqual([]);
  });
});

describe("a download that fails", () => {
  const ways = {
    busy: (response: ServerResponse) => response.writeHead(503).end(),
    limited: (response: ServerResponse) => response.writeHead(429).end(),
    reset: (response: ServerResponse) => response.socket?.destroy(),
    "cut off": (response: ServerResponse) => {
      response.writeHead(200, { "content-length": archive.length });
      response.write(archive.subarray(0, 10), () => response.socket?.destroy());
    },
    missing: (response: ServerResponse) => response.writeHead(404).end(),
  };

  it("is tried three times where it may pass, each file for itself, and once where it can't", async () => {
    const failure = fc.constantFrom(...(Object.keys(ways) as (keyof typeof ways)[]));
    const fails = fc.array(failure, { maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(fails, fails, async (sums, body) => {
        rmSync(cache, { recursive: true, force: true });
        const left = { "/sums.txt": [...sums], "/tool.tar.gz": [...body] };
        const good = files(`${digest(archive)}  tool.tar.gz\n`, archive);
        const release = await serve((request, response) => {
          const way = left[request.url as keyof typeof left].shift();
          if (way) ways[way](response);
          else good(request, response);
        });
        const isWell = [sums, body].every((all) => all.length < 3 && !all.includes("missing"));
        const done = download(cache, release, silentReporter, patient);
        if (isWell) expect(readdirSync(await done)).toEqual(["tool"]);
        else await expect(done).rejects.toThrow(Unreachable);
        const tries = sums.indexOf("missing");
        if (tries >= 0) expect(left["/sums.txt"]).toEqual(sums.slice(tries + 1));
        expect(leftovers()).toEqual(isWell ? ["tool-1.0.0-official"] : []);
        server?.closeAllConnections();
        server?.close();
      }),
      { numRuns: 40 },
    );
  });
});

describe("where the vendor's files are", () => {
  it("names them as the vendor does, by platform", () => {
    const linux = officialReleases("linux", "x64");
    expect(linux.pulumi.archive).toBe("pulumi-v3.259.0-linux-x64.tar.gz");
    expect(linux.docker.archive).toBe("pulumi-resource-docker-v5.2.0-linux-amd64.tar.gz");
    expect(officialReleases("darwin", "arm64").command.archive).toBe(
      "pulumi-resource-command-v1.2.1-darwin-arm64.tar.gz",
    );
  });

  it("reads the vendor's checksum files", () => {
    const sum = "AB".repeat(32);
    expect(findChecksum(`${sum}\n`, "a")).toBe(sum.toLowerCase());
    expect(findChecksum(`${sum}  b\n`, "a")).toBeUndefined();
    expect(findChecksum(`${sum} *a.tar.gz\r\n`, "a.tar.gz")).toBe(sum.toLowerCase());
    expect(findChecksum(`${sum}  b/a.tar.gz\n`, "a.tar.gz")).toBeUndefined();
    expect(findChecksum("abc  a.tar.gz\n", "a.tar.gz")).toBeUndefined();
  });
});
