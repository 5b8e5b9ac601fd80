import { rm } from "node:fs/promises";
import { createServer, request, type Server } from "node:http";
import { join } from "node:path";
import { json, text } from "node:stream/consumers";
import * as z from "zod";
import { errorText } from "../../errors";
import type { ImageCache } from "./image-cache";
import type { Readiness } from "./readiness";

/** On the state volume, in a folder for root alone: what it answers to no client of the API may ask. */
export const adminSocket = (home: string) => join(home, "gateway", "admin.sock");

const pruneOptions = z.strictObject({
  olderThanSeconds: z.number().min(0).default(0),
  maxBytes: z.number().min(0).optional(),
});

export type Administered = {
  images: Pick<ImageCache, "prune">;
  readiness: () => Promise<Readiness>;
};

/** Listens for what is asked inside the container: `POST /images/prune`, and `GET /readyz` with the reasons. */
export async function listenForAdmin(home: string, { images, readiness }: Administered): Promise<Server> {
  const path = adminSocket(home);
  // Left by a process that was killed.
  await rm(path, { force: true });
  const server = createServer(async (incoming, answer) => {
    try {
      if (incoming.method === "GET" && incoming.url === "/readyz")
        return void answer.end(JSON.stringify(await readiness()));
      if (incoming.method !== "POST" || incoming.url !== "/images/prune") throw new Error("no such command");
      const report = await images.prune(pruneOptions.parse(await json(incoming)));
      answer.end(JSON.stringify(report));
    } catch (error) {
      answer.writeHead(400).end(errorText(error));
    }
  });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(path, resolve));
  return server;
}

/** Asks the server that runs beside this process. @throws Error with its reason, or that there is none */
export function askServer(home: string, path: string, body: unknown): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath: adminSocket(home), path, method: "POST" }, async (answer) => {
      if (answer.statusCode === 200) json(answer).then(resolve, reject);
      else reject(new Error(await text(answer)));
    });
    asked.once("error", (error) => reject(new Error(`the server does not answer: ${error.message}`)));
    asked.end(JSON.stringify(body));
  });
}
