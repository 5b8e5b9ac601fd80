import type { Duplex } from "node:stream";
import { decode, encode } from "cborg";
import * as z from "zod";
import { ServiceError } from "../../errors";
import { connectAgent } from "./agent-socket";

/** The generation of the agent's protocol that is spoken here (microsandbox-protocol 0.7.11). */
const GENERATION = 10;
const OPENS_SESSION = 2;
/** Bytes of a frame at most, without its length. */
const MAX_FRAME = 4 * 1024 * 1024;
/** Bytes of a file that is read here. */
const MAX_FILE = 256 * 1024;

const response = z.object({
  ok: z.boolean(),
  error: z.string().nullish(),
  data: z
    .object({ Handle: z.union([z.number(), z.bigint()]) })
    .partial()
    .nullish()
    .catch(undefined),
});
const envelope = z.object({ t: z.string(), p: z.instanceof(Uint8Array) });
const piece = z.object({ data: z.instanceof(Uint8Array) });

type Message = { type: string; payload: unknown };
type Access = { read?: boolean; write?: boolean; truncate?: boolean };

/** Small files in a running guest, read and written by its agent as root, whatever programs the image has. */
export class GuestFiles {
  private constructor(
    private readonly connection: Duplex,
    private readonly next: () => Promise<Message>,
    private nextId: number,
  ) {}

  /**
   * Does work over a connection of its own to a sandbox's agent.
   * @param signal ends it, with an error
   * @throws ServiceError conflict where the sandbox does not run, runtimeFailed where its agent does not do as asked
   */
  static async use<T>(
    { home, handle }: { home: string; handle: string },
    signal: AbortSignal,
    work: (files: GuestFiles) => Promise<T>,
  ): Promise<T> {
    const connection = await connectAgent(home, handle, signal);
    const giveUp = () => connection.destroy(new Error("given up"));
    signal.addEventListener("abort", giveUp, { once: true });
    try {
      const bytes = bytesOf(connection);
      // The first number that this connection may use, the first that it may not, and a message that the agent is ready.
      const firstId = (await bytes(8)).readUInt32BE(0);
      const next = messagesOf(bytes);
      await next();
      return await work(new GuestFiles(connection, next, firstId));
    } catch (cause) {
      signal.throwIfAborted();
      if (cause instanceof ServiceError) throw cause;
      throw new ServiceError("runtimeFailed", "the sandbox's agent did not answer as expected", { cause });
    } finally {
      signal.removeEventListener("abort", giveUp);
      connection.destroy();
    }
  }

  /** A file's content as text. @throws ServiceError runtimeFailed where there is none, or it is too large */
  async read(path: string): Promise<string> {
    const handle = await this.open(path, { read: true });
    const found: Uint8Array[] = [];
    let size = 0;
    await this.request({ Read: { handle, offset: 0, len: MAX_FILE + 1 } }, (data) => {
      size += data.length;
      if (size <= MAX_FILE) found.push(data);
    });
    if (size > MAX_FILE) throw failed(`${path} is too large`);
    await this.request({ CloseHandle: { handle } });
    return Buffer.concat(found).toString();
  }

  /** Replaces a file's content. The file has to be there. @throws ServiceError runtimeFailed */
  async write(path: string, text: string, { truncate = true } = {}): Promise<void> {
    const handle = await this.open(path, { write: true, truncate });
    const id = this.begin({ Write: { handle, offset: 0, len: null } });
    this.send(id, 0, "core.fs.data", { data: Buffer.from(text) });
    this.send(id, 0, "core.fs.data", { data: Buffer.alloc(0) });
    await this.answer();
    await this.request({ CloseHandle: { handle } });
  }

  private async open(path: string, { read = false, write = false, truncate = false }: Access) {
    const options = { read, write, truncate, append: false, create: false, create_new: false };
    const { data } = await this.request({ OpenFile: { path, options } });
    if (data?.Handle === undefined) throw failed(`${path} was not opened`);
    return data.Handle;
  }

  private request(operation: object, onData?: (data: Uint8Array) => void) {
    this.begin(operation);
    return this.answer(onData);
  }

  /** One operation at a time: what comes is the answer to the last. */
  private begin(op: object): number {
    const id = this.nextId++;
    this.send(id, OPENS_SESSION, "core.fs.request", { op });
    return id;
  }

  private async answer(onData: (data: Uint8Array) => void = () => undefined) {
    for (;;) {
      const { type, payload } = await this.next();
      if (type === "core.fs.data") onData(piece.parse(payload).data);
      else if (type === "core.fs.response") {
        const answer = response.parse(payload);
        if (!answer.ok) throw failed(answer.error ?? "no reason given");
        return answer;
      } else if (type === "core.error") throw failed(JSON.stringify(payload));
    }
  }

  private send(id: number, flags: number, t: string, payload: object): void {
    const body = encode({ v: GENERATION, t, p: encode(payload) });
    const head = Buffer.alloc(9);
    head.writeUInt32BE(5 + body.length, 0);
    head.writeUInt32BE(id, 4);
    head.writeUInt8(flags, 8);
    this.connection.write(Buffer.concat([head, body]));
  }
}

const failed = (why: string) => new ServiceError("runtimeFailed", `the sandbox's agent: ${why}`);

/** Reads so many bytes at a time. */
function bytesOf(connection: Duplex): (count: number) => Promise<Buffer> {
  const pieces: AsyncIterator<Buffer> = connection[Symbol.asyncIterator]();
  let held = Buffer.alloc(0);
  return async (count) => {
    while (held.length < count) {
      const { value, done } = await pieces.next();
      if (done) throw new Error("the connection has ended");
      held = Buffer.concat([held, value]);
    }
    const taken = held.subarray(0, count);
    held = held.subarray(count);
    return taken;
  };
}

/** Reads one message at a time. */
function messagesOf(bytes: (count: number) => Promise<Buffer>): () => Promise<Message> {
  return async () => {
    const length = (await bytes(4)).readUInt32BE(0);
    if (length < 5 || length > MAX_FRAME) throw new Error(`a frame of ${length} bytes`);
    const { t, p } = envelope.parse(decode((await bytes(length)).subarray(5)));
    return { type: t, payload: decode(p) };
  };
}
