import { connect, type Socket } from "node:net";

const BYTE_EVERY_MS = 1_000;

/** Clients that send a request one byte a second: half of them its head, half of them its body. */
export class SlowSenders {
  private readonly timer: NodeJS.Timeout;

  private constructor(private readonly sockets: Socket[]) {
    this.timer = setInterval(() => {
      for (const socket of sockets) if (socket.writable) socket.write("a");
    }, BYTE_EVERY_MS);
  }

  static async start(port: number, count: number): Promise<SlowSenders> {
    const head = "POST /v1/sandboxes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer msb_test\r\n";
    const sockets = Array.from({ length: count }, (_each, index) => {
      const socket = connect({ host: "127.0.0.1", port });
      socket.on("error", () => socket.destroy());
      socket.on("connect", () => {
        const body = index % 2 === 0;
        socket.write(
          body
            ? `${head}Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{"`
            : `${head}X-Slow: `,
        );
      });
      return socket;
    });
    await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once("connect", resolve))));
    return new SlowSenders(sockets);
  }

  stop(): void {
    clearInterval(this.timer);
    for (const socket of this.sockets) socket.destroy();
  }
}
