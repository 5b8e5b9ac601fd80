import { request as plain } from "node:http";
import { request as secure } from "node:https";

/** A server, and the authority (PEM) that its certificate is of, where it is a private one. */
export interface Asked {
  url: string;
  authority?: string;
}

export interface Answer {
  status: number;
  text: string;
}

/**
 * A request, over http or https as the URL says. `fetch` does that too, but it can't be told of a private authority.
 * @throws where no connection comes about, or the certificate is not the authority's
 */
export function ask(
  { url, authority }: Asked,
  path: string,
  { method = "GET", key, body }: { method?: string; key?: string; body?: object } = {},
): Promise<Answer> {
  const headers = {
    ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
    ...(body && { "content-type": "application/json" }),
  };
  const request = url.startsWith("https:") ? secure : plain;
  return new Promise((resolve, reject) => {
    const asked = request(url + path, { method, headers, agent: false, ca: authority }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (part) => {
        text += part;
      });
      answer.on("end", () => resolve({ status: answer.statusCode ?? 0, text }));
      answer.on("error", reject);
    });
    asked.on("error", reject);
    asked.end(body && JSON.stringify(body));
  });
}
