import { createBody } from "./gateway";
import {
  DEFAULT_VOLUME,
  json,
  latin1,
  type Maker,
  only,
  post,
  repeated,
  request,
} from "./malformed-requests";

const CRLF = "\r\n";

/** Requests that are no proper HTTP. */
export const HTTP_MAKERS: Record<string, Maker> = {
  "random bytes": (random) => ({ bytes: [random.bytes(random.between(1, 1500))], afterwards: "end" }),
  "bad request line": (random) => {
    const line = random.pick([
      ...["GET", "GET /", "GET / HTTP/9.9", "GET / HTTP/1", "get / http/1.1", "GET  /  HTTP/1.1"],
      ...[
        "G\u0001T / HTTP/1.1",
        "GET /\u0000 HTTP/1.1",
        "GET /\u00ff HTTP/1.1",
        "GET\t/\tHTTP/1.1",
        " / HTTP/1.1",
      ],
      ...[
        "GET http://evil.test/ HTTP/1.1",
        "GET evil.test:80 HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET ?x HTTP/1.1",
      ],
      ...["PRI * HTTP/2.0", "CONNECT evil.test:443 HTTP/1.1", `GET /${"a".repeat(70_000)} HTTP/1.1`],
      ...[
        `${"A".repeat(5000)} / HTTP/1.1`,
        "GET / HTTP/1.1 extra",
        "GET /healthz HTTP/0.9",
        "SOURCE / ICE/1.0",
      ],
    ]);
    return {
      bytes: [latin1(`${line}${CRLF}Host: x${CRLF}${CRLF}`)],
      afterwards: random.pick(["wait", "end"]),
    };
  },
  "another protocol": (random) => ({
    bytes: [
      random.pick([
        Buffer.from("16030100a5010000a10303", "hex"),
        latin1("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        latin1("SSH-2.0-OpenSSH_9.6\r\n"),
        latin1("EHLO evil.test\r\nMAIL FROM:<a@b>\r\n"),
        Buffer.concat([latin1("\0\0\0\x00"), random.bytes(64)]),
      ]),
    ],
    afterwards: "end",
  }),
  "huge header": (random) => ({
    bytes: [request("GET", "/v1/sandboxes", [`X-Big: ${"a".repeat(random.between(20_000, 100_000))}`])],
    accept: only(431),
  }),
  "many headers": (random) => ({
    bytes: [
      request(
        "GET",
        "/healthz",
        repeated(random.between(2500, 4000), (index) => `X-${index}: 1`),
      ),
    ],
    accept: only(431),
  }),
  "bad header": (random) => {
    const header = random.pick([
      ...["NoColon", ": empty", "Sp ace: x", "X\u0000: y", "X: \u0000", "X: a\rb", "X: a\nEvil: b", "X : y"],
      ...["X: y\r\n folded", "(x): y", "\u00e9: x", "X: \u0001\u0002", "\tX: y", "Host: a\r\nHost: b"],
    ]);
    return { bytes: [request("GET", "/healthz", [header])] };
  },
  "bad length": (random) => {
    const length = random.pick([
      ...["-1", "abc", "1e3", "0x10", "99999999999999999999999", "1, 2", "+5", "", " ", "5 5", "\u00b2"],
      ...["5\r\nContent-Length: 6"],
    ]);
    const headers = ["Content-Type: application/json", `Content-Length: ${length}`];
    return { bytes: [request("POST", "/v1/sandboxes", headers, "{}")], afterwards: "end" };
  },
  smuggling: (random) => {
    const headers = random.pick([
      ["Content-Length: 4", "Transfer-Encoding: chunked"],
      ["Transfer-Encoding: chunked", "Content-Length: 4"],
      ["Transfer-Encoding: xchunked"],
      ["Transfer-Encoding: chunked, identity"],
      ["Transfer-Encoding : chunked"],
      ["Transfer-Encoding: chunked", "Transfer-Encoding: x"],
      ["Transfer-Encoding:\u000bchunked"],
      ["Content-Length: 4", "Content-Length: 44"],
    ]);
    const inner = request("GET", "/v1/volumes/default", []).toString("latin1");
    const body = `0${CRLF}${CRLF}${inner}`;
    return {
      bytes: [request("POST", "/v1/sandboxes", ["Content-Type: application/json", ...headers], body)],
      // The request inside the body must never be answered.
      accept: (statuses, text) => statuses.length <= 1 && !text.includes(DEFAULT_VOLUME),
    };
  },
  "bad chunks": (random) => {
    const body = random.pick([
      ...[
        "zz\r\n{}\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\n",
        "-1\r\n{}\r\n",
        "2\r\n{}XX0\r\n\r\n",
        "2;\u0000=1\r\n{}",
      ],
      ...[
        `2;${"e".repeat(20_000)}\r\n{}\r\n0\r\n\r\n`,
        "2\n{}\n0\n\n",
        "\r\n\r\n",
        "0\r\nTrailer: \u0000\r\n\r\n",
      ],
      ...["7fffffffffffffff\r\n{", "2\r\n{"],
    ]);
    const headers = ["Content-Type: application/json", "Transfer-Encoding: chunked"];
    return { bytes: [request("POST", "/v1/sandboxes", headers, body)], afterwards: "end" };
  },
  "truncated body": (random) => {
    const whole = json(createBody("cut"));
    const cut = whole.subarray(0, random.between(0, whole.length - 1));
    const headers = ["Content-Type: application/json", `Content-Length: ${whole.length}`];
    return {
      bytes: [request("POST", "/v1/sandboxes", headers), cut],
      afterwards: random.pick(["end", "break"]),
    };
  },
  "body too large": (random) => {
    const length = random.pick([16 * 1024 * 1024 + 1, 2 ** 31, 2 ** 40, Number.MAX_SAFE_INTEGER]);
    const headers = ["Content-Type: application/json", `Content-Length: ${length}`];
    return { bytes: [request("POST", "/v1/sandboxes", headers), random.bytes(500)], accept: only(413) };
  },
  "bad method": (random, { sandboxId }) => ({
    bytes: [
      request(
        random.pick([
          "TRACE",
          "PROPFIND",
          "PATCH",
          "OPTIONS",
          "LOCK",
          "PURGE",
          "QUERY",
          "M-SEARCH",
          "HEAD",
          "PUT",
        ]),
        random.pick([
          "/",
          "/v1/sandboxes",
          `/v1/sandboxes/${sandboxId}`,
          "/v1/volumes",
          "/healthz",
          "/metrics",
        ]),
        ["Content-Length: 0"],
      ),
    ],
  }),
  "bad expectation": (random) => ({
    bytes: [
      request("POST", "/v1/sandboxes", [
        `Expect: ${random.pick(["100-continue", "200-maybe", "", "\u00ff"])}`,
        ...["Content-Type: application/json", "Content-Length: 2"],
      ]),
    ],
    afterwards: "end",
  }),
  "bad key": (random) => ({
    bytes: [
      latin1(
        `GET /v1/sandboxes HTTP/1.1${CRLF}Host: x${CRLF}Authorization: ${random.pick([
          ...[
            "",
            "Bearer",
            "Bearer ",
            "Basic eDp5",
            "Bearer a b",
            `Bearer ${"k".repeat(9000)}`,
            "\u00ff",
            "Bearer \u0080",
          ],
        ])}${CRLF}Connection: close${CRLF}${CRLF}`,
      ),
    ],
  }),
  "pipelined mix": (random) => {
    const parts = repeated(random.between(2, 20), () =>
      latin1(`GET ${random.pick(["/healthz", "/none", "/v1/%zz"])} HTTP/1.1${CRLF}Host: x${CRLF}${CRLF}`),
    );
    return { bytes: [...parts, random.bytes(50)], afterwards: "end" };
  },
  "broken off": (random, { sandboxId }) => {
    const whole = random.pick([
      request("GET", `/v1/sandboxes/${sandboxId}/logs`, []),
      request("GET", "/v1/sandboxes", []),
      ...post("/v1/sandboxes?start=true&wait_for=running", createBody(`broken-${random.between(0, 1e9)}`)),
    ]);
    return { bytes: [whole.subarray(0, random.between(1, whole.length))], afterwards: "break" };
  },
};
