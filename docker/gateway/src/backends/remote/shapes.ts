import * as z from "zod";
import { sandboxStatus } from "../../sandboxes/spec";

/** What answers have at least. They are checked for it and passed on whole, with what a newer server adds. */
export const text = z.string();
export const flag = z.boolean();
export const number = z.number();
export const nothing = z.undefined();

const owner = text.nullable();
/** What clients fill is not looked at one by one: a server sends what it has checked, and it may be much. */
const labels = z.custom<Record<string, string>>((value) => typeof value === "object" && value !== null);
const failure = z.looseObject({ kind: text, message: text }).nullable();

export const sandbox = z.looseObject({
  ...{ id: text, name: text, owner, status: sandboxStatus, failure, createdAt: text },
  ...{ version: number, paused: flag, settled: flag, ended: flag },
  spec: z.looseObject({}).nullable(),
  resolved: z.looseObject({}).nullable(),
});

export const volume = z.looseObject({ id: text, name: text.nullable(), owner, labels, createdAt: text });

export const snapshot = z.looseObject({
  ...{ id: text, name: text, owner, labels, digest: text, sizeBytes: number, createdAt: text },
  manifest: z.looseObject({}),
});

export const operation = z.looseObject({
  ...{ id: text, status: text, error: failure, createdAt: text },
  result: snapshot.nullable(),
});

export const limits = z.looseObject({ sandboxes: number, memoryMib: number, cpus: number });

const time = text.nullable();
export const fileInfo = z.looseObject({
  ...{ path: text, type: text, size: number, mode: number, uid: number, gid: number },
  ...{ target: text.nullable(), accessedAt: time, modifiedAt: time, createdAt: time },
});

export const logEntry = z.looseObject({ source: text, ts: text, text, cursor: text });
