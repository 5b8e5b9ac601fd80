import type { Asked } from "../../harness/ask";
import type { Client, Session } from "../clients/session";

/** A deployed server, as its stack's outputs describe it. */
export interface ConformanceServer extends Asked {
  /** Undefined or empty for a server in dev mode, which takes any. */
  key?: string;
}

/** What the cases of one client share: each boot of a microVM takes many seconds, so they share one sandbox. */
export interface Shared {
  client: Client;
  session: Session;
  /** Another process of the same client; the caller closes it. */
  open(options?: { key?: string; trusting?: boolean }): Promise<Session>;
  server: ConformanceServer;
  sandbox: string;
  volume: string;
  /** A folder of this machine for files. */
  folder: string;
}

/** The time limit of one case: a microVM of an emulated host is slow to boot. */
export const limit = { timeout: 180_000 };

/** Names of the snapshots of a sandbox, and of what starts from them. */
export const snapshotsOf = (sandbox: string) => [`${sandbox}-running`, `${sandbox}-stopped`] as const;
export const againOf = (sandbox: string) => `${sandbox}-again`;
