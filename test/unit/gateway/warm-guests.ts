import { existsSync, readdirSync } from "node:fs";
import type { Socket } from "node:net";
import { join } from "node:path";
import { decode, encode } from "cborg";
import { atFileEnd } from "../../harness/file-end";
import { fakeAgent } from "./harness";

const FIRST_ID = 33_554_433;

export function warmHandles(home: string): string[] {
  const folder = join(home, "fake", "sandboxes");
  const names = existsSync(folder) ? readdirSync(folder) : [];
  return names.flatMap((name) => /^(warm-.*)\.status$/.exec(name)?.[1] ?? []);
}

/** Guests of all sandboxes that were booted before anybody asked: each has an agent that reads and writes files. */
export class WarmGuests {
  /** Files by path, by msb's name of the sandbox. */
  readonly files = new Map<string, Map<string, string>>();
  private readonly timer = setInterval(() => void this.look(), 10);
  /** What becomes of the agents' answers. */
  agents: "well" | "junk" | "silent" = "well";

  constructor(private readonly home: string) {
    atFileEnd(() => clearInterval(this.timer));
  }

  /** msb's names of those that there are. */
  handles = (): string[] => warmHandles(this.home);

  /** What the guest calls itself: the kernel's word, and the one in /etc/hosts. */
  namesOf = (handle: string): (string | undefined)[] => {
    const files = this.files.get(handle);
    return [files?.get("/proc/sys/kernel/hostname"), files?.get("/etc/hosts")?.trim().split(" ").at(-1)];
  };

  private async look(): Promise<void> {
    for (const handle of this.handles()) {
      if (this.files.has(handle)) continue;
      const files = new Map([
        ["/proc/sys/kernel/hostname", "sandbox"],
        ["/etc/hosts", "127.0.0.1 localhost sandbox\n"],
      ]);
      this.files.set(handle, files);
      await fakeAgent(this.home, handle, (socket) => this.serve(socket, files));
    }
  }

  private serve(socket: Socket, files: Map<string, string>): void {
    socket.on("error", () => undefined);
    const head = Buffer.alloc(8);
    head.writeUInt32BE(FIRST_ID);
    head.writeUInt32BE(FIRST_ID + 1000, 4);
    socket.write(Buffer.concat([head, frame(0, 0, "core.ready", {})]));
    const open = new Map<number, string>();
    let writing: { path: string; text: string } | undefined;
    let held = Buffer.alloc(0);
    socket.on("data", (data) => {
      held = Buffer.concat([held, data]);
      while (held.length >= 4 && held.length >= 4 + held.readUInt32BE(0)) {
        const whole = held.subarray(4, 4 + held.readUInt32BE(0));
        held = held.subarray(4 + whole.length);
        const id = whole.readUInt32BE(0);
        const { t, p } = decode(whole.subarray(5)) as { t: string; p: Uint8Array };
        const payload = decode(p) as ReturnType<typeof JSON.parse>;
        if (this.agents === "silent") return;
        if (this.agents === "junk") return void socket.write(Buffer.alloc(64, 7));
        const answer = (data: unknown, error?: string) =>
          socket.write(frame(id, 1, "core.fs.response", { ok: !error, error: error ?? null, data }));
        if (t === "core.fs.data") {
          if (!writing) throw new Error("data that nobody asked for");
          writing.text += Buffer.from(payload.data).toString();
          if (payload.data.length > 0) continue;
          files.set(writing.path, writing.text);
          writing = undefined;
          answer(null);
          continue;
        }
        const [[op, args]] = Object.entries(payload.op) as [[string, ReturnType<typeof JSON.parse>]];
        const path = open.get(args.handle) ?? "";
        if (op === "OpenFile") {
          if (!files.has(args.path)) {
            answer(null, "open: No such file or directory (os error 2)");
            continue;
          }
          open.set(id, args.path);
          answer({ Handle: id });
        } else if (op === "Read") {
          socket.write(frame(id, 0, "core.fs.data", { data: Buffer.from(files.get(path) ?? "") }));
          answer(null);
        } else if (op === "Write") writing = { path, text: "" };
        else answer(null);
      }
    });
  }
}

function frame(id: number, flags: number, t: string, payload: object): Buffer {
  const body = encode({ v: 10, t, p: encode(payload) });
  const head = Buffer.alloc(9);
  head.writeUInt32BE(5 + body.length);
  head.writeUInt32BE(id, 4);
  head.writeUInt8(flags, 8);
  return Buffer.concat([head, body]);
}
