import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, test, vi } from "vitest";
import { silentReporter } from "../../../../setup/report";
import { download } from "../../../../setup/tools/official";
import { proxyFor } from "../../../../setup/tools/proxy";
import { ConnectProxy } from "../../../harness/connect-proxy";

test.each<[string, Record<string, string>, string | undefined]>([
  ["https://get.test/x", {}, undefined],
  ["https://get.test/x", { HTTPS_PROXY: "http://p:3128" }, "http://p:3128"],
  ["https://get.test/x", { https_proxy: "p:3128" }, "http://p:3128"],
  ["https://get.test/x", { HTTP_PROXY: "http://p:3128" }, undefined],
  ["http://get.test/x", { HTTP_PROXY: "http://p:3128" }, "http://p:3128"],
  ["https://get.test/x", { ALL_PROXY: "http://p:3128" }, "http://p:3128"],
  ["https://get.test/x", { HTTPS_PROXY: "" }, undefined],
  ["https://get.test/x", { HTTPS_PROXY: "http://p", NO_PROXY: "localhost, .test" }, undefined],
  ["https://get.test/x", { HTTPS_PROXY: "http://p", NO_PROXY: "get.test" }, undefined],
  ["https://get.test:8443/x", { HTTPS_PROXY: "http://p", NO_PROXY: "get.test:8443" }, undefined],
  ["https://target.test/x", { HTTPS_PROXY: "http://p", NO_PROXY: "get.test" }, "http://p"],
  ["https://get.test/x", { HTTPS_PROXY: "http://p", NO_PROXY: "*" }, undefined],
])("3: the proxy for %s with %j", (url, environment, expected) => {
  expect(proxyFor(url, environment)).toBe(expected);
});

it("3: tools are downloaded through the proxy, which looks names up; a silent one is named", async () => {
  const work = mkdtempSync(join(tmpdir(), "proxy-"));
  writeFileSync(join(work, "tool"), "hi\n");
  execFileSync("tar", ["-czf", join(work, "tool.tar.gz"), "-C", work, "tool"]);
  const archive = readFileSync(join(work, "tool.tar.gz"));
  const sums = `${createHash("sha256").update(archive).digest("hex")}  tool.tar.gz\n`;
  const site = createServer((request, response) =>
    response.end(request.url === "/sums.txt" ? sums : archive),
  );
  await new Promise<void>((ready) => site.listen(0, "127.0.0.1", ready));
  const proxy = await ConnectProxy.start((site.address() as AddressInfo).port);
  vi.stubEnv("HTTP_PROXY", proxy.url);
  vi.stubEnv("http_proxy", undefined);
  vi.stubEnv("NO_PROXY", undefined);
  vi.stubEnv("no_proxy", undefined);
  const release = {
    ...{ name: "tool", version: "1", base: "http://nowhere.test", archive: "tool.tar.gz" },
    checksums: "sums.txt",
  };
  const limits = { connect: 20_000, stall: 20_000, pauses: [] };
  const folder = await download(join(work, "cache"), release, silentReporter, limits);
  expect(readFileSync(join(folder, "tool"), "utf8")).toBe("hi\n");
  expect(proxy.asked).toContain("nowhere.test:80");

  const { host } = new URL(proxy.url);
  proxy.close();
  await expect(download(join(work, "none"), release, silentReporter, limits)).rejects.toThrow(
    `nowhere.test through the proxy ${host}:`,
  );
  site.closeAllConnections();
  site.close();
  rmSync(work, { recursive: true });
});
