import { existsSync } from "node:fs";
import { request as send } from "node:http";
import { join } from "node:path";
import { type Answered, KeptAliveClient } from "../../harness/kept-alive";
import { newBody, START, type TestGateway } from "./harness";
import { withKeys } from "./with-keys";

/** What only Bob may read. */
export const SECRET = "only-bob-may-read-this";

/** The id of nothing. */
export const NEVER = "11111111-1111-4111-8111-111111111111";

export type TwoOwners = { gateway: TestGateway; ann: KeptAliveClient; bob: KeptAliveClient };

/** A gateway where each key has things of its own, and two clients with a key each. */
export async function twoOwners(env: Record<string, string> = {}): Promise<TwoOwners> {
  const keys = ["ann", "bob"].map((id) => ({ id, key: `key-of-${id}` }));
  const { gateway } = await withKeys(keys, { OWN_SANDBOXES: "true", ...env });
  const port = Number(new URL(gateway.url).port);
  const [ann, bob] = [new KeptAliveClient(port, "key-of-ann"), new KeptAliveClient(port, "key-of-bob")];
  return { gateway, ann, bob };
}

export const create = (who: KeptAliveClient, name: string, change = {}, query = `?${START}`) =>
  who.ask("POST", `/v1/sandboxes${query}`, { body: newBody(name, change) });

/** Mounts of the volume of that name. */
export const mounts = (name: string) => [{ type: "named", name, guest: "/data" }];

/** Where msb logs: in a folder by its own name of the sandbox, the id or (as it used to be) the name. */
export function logFolder(home: string, { id, name }: { id: string; name: string }): string {
  const folders = [id, name].map((each) => join(home, "sandboxes", each, "logs"));
  return folders.find((folder) => existsSync(folder)) ?? "";
}

/** What Ann's upgrade to a WebSocket is answered; 101 where it is let through. */
export function upgrade({ url }: TestGateway, path: string): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const asked = send(`${url}${path}`, {
      agent: false,
      headers: {
        ...{ authorization: "Bearer key-of-ann", connection: "Upgrade", upgrade: "websocket" },
        ...{ "sec-websocket-version": "13", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==" },
      },
    });
    asked.on("error", reject);
    asked.on("response", async (answer) => {
      const text = (await answer.toArray()).join("");
      resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: JSON.parse(text) });
    });
    asked.on("upgrade", (_answer, socket) => {
      socket.destroy();
      resolve({ status: 101, headers: {}, body: "" });
    });
    asked.end();
  });
}
