import { Agent, type IncomingHttpHeaders, type IncomingMessage, request } from "node:http";

export type Answered = {
  status: number;
  body: ReturnType<typeof JSON.parse>;
  headers: IncomingHttpHeaders;
};
export type AskOptions = {
  body?: unknown;
  headers?: Record<string, string>;
  /** The client breaks its connection after so many milliseconds, whether it has its answer or not. */
  leaveAfterMs?: number;
};

/** The client left, or the server broke the connection: nobody knows what became of the request. */
export class Unanswered extends Error {
  override name = "Unanswered";
}

/** A client that keeps its connections, as the SDKs do; closing it leaves none. */
export class KeptAliveClient {
  private readonly agent = new Agent({ keepAlive: true, maxSockets: 512 });

  constructor(
    readonly port: number,
    private readonly key = "msb_test",
  ) {}

  /** @throws Unanswered */
  ask(method: string, path: string, { body, headers, leaveAfterMs }: AskOptions = {}): Promise<Answered> {
    const text = body === undefined ? undefined : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const broken = (error: Error) => {
        clearTimeout(leaving);
        reject(new Unanswered(`${method} ${path}: ${error.message}`));
      };
      const asked = request({
        ...{ agent: this.agent, host: "127.0.0.1", port: this.port, method, path },
        headers: {
          authorization: `Bearer ${this.key}`,
          "user-agent": "microsandbox-sdk/0.7.11",
          ...(text !== undefined && {
            "content-type": "application/json",
            "content-length": Buffer.byteLength(text),
          }),
          ...headers,
        },
      });
      const leaving =
        leaveAfterMs === undefined
          ? undefined
          : setTimeout(() => asked.destroy(new Error("the client left")), leaveAfterMs);
      asked.on("error", broken);
      asked.on("response", (answer) => {
        readAll(answer).then((bytes) => {
          clearTimeout(leaving);
          resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: bodyOf(answer, bytes) });
        }, broken);
      });
      asked.end(text);
    });
  }

  close(): void {
    this.agent.destroy();
  }
}

async function readAll(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

function bodyOf({ headers }: IncomingMessage, text: string): Answered["body"] {
  return headers["content-type"]?.includes("json") && text !== "" ? JSON.parse(text) : text;
}
