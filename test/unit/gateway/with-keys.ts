import { join } from "node:path";
import { type KeyLine, writeKeyFile } from "../../harness/key-file";
import { newBody, START, TestGateway, temporaryFolder } from "./harness";

export const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

/** A gateway that checks keys, and the file of them. */
export async function withKeys(keys: KeyLine[], env: Record<string, string> = {}) {
  const file = join(temporaryFolder(), "keys");
  writeKeyFile(file, keys);
  const gateway = await TestGateway.start({ DEV_MODE: "false", API_KEYS_FILE: file, ...env });
  const status = async (key: string, path = "/v1/quotas") => (await gateway.get(path, bearer(key))).status;
  const create = (key: string, name: string, change?: Record<string, unknown>) =>
    gateway.request("POST", `/v1/sandboxes?${START}`, { body: newBody(name, change), headers: bearer(key) });
  return { file, gateway, status, create, write: (next: KeyLine[]) => writeKeyFile(file, next) };
}
