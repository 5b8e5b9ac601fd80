import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";

/** An HTTP proxy of a few lines: it tunnels what is asked for by CONNECT, wherever the name leads, to one port. */
export class ConnectProxy {
  /** What was asked for: `host:port`. */
  readonly asked: string[] = [];
  private constructor(private readonly server: Server) {}

  /** @param target port on loopback that every tunnel leads to; an own port where the client shall reach what it named */
  static async start(target?: number, address = "127.0.0.1"): Promise<ConnectProxy> {
    const server = createServer((_request, response) => response.writeHead(501).end());
    const proxy = new ConnectProxy(server);
    server.on("connect", (request, socket, head) => {
      proxy.asked.push(request.url ?? "");
      const [, host = "", port = ""] = /^(.*):(\d+)$/.exec(request.url ?? "") ?? [];
      const upstream = connect(target ?? Number(port), target === undefined ? host : "127.0.0.1", () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        upstream.write(head);
        socket.pipe(upstream).pipe(socket);
      });
      for (const [one, other] of [
        [socket, upstream],
        [upstream, socket],
      ] as const)
        one.on("error", () => other.destroy());
    });
    server.listen(0, address);
    await once(server, "listening");
    return proxy;
  }

  get url(): string {
    const { address, port } = this.server.address() as AddressInfo;
    return `http://${address}:${port}`;
  }

  close(): void {
    this.server.closeAllConnections();
    this.server.close();
  }
}
