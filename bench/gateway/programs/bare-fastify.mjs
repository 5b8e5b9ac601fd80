// What the gateway is compared with: fastify and nothing else, bundled and started in the same way. It sends the
// bytes of the file BODY on /body.
import { readFileSync } from "node:fs";
import Fastify from "fastify";

const app = Fastify();
const body = process.env.BODY ? readFileSync(process.env.BODY) : Buffer.from("{}");
app.get("/healthz", async () => ({ status: "ok" }));
app.get("/body", (_request, reply) => reply.type("application/json; charset=utf-8").send(body));
app.listen({ port: Number(process.env.PORT), host: "127.0.0.1" });
