// Sign-in for the one-machine edition: a real BetterAuth server and the page where a person signs up and in.
//
//   node local/auth/server.mjs --port 4400 --data .meridian/auth --audience http://localhost:7071/v1/auth/token
//
// Everything can also be given as an environment variable: MERIDIAN_AUTH_PORT, MERIDIAN_AUTH_DATA, ...
import { readFileSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { randomBytes } from "node:crypto";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { fromNodeHeaders, toNodeHandler } from "better-auth/node";

import { openAuth } from "./auth.mjs";
import { CodeDesk } from "./codes.mjs";

const SITE = join(dirname(fileURLToPath(import.meta.url)), "site");
const FILES = {
  "/": ["index.html", "text/html; charset=utf-8"],
  "/cli": ["index.html", "text/html; charset=utf-8"],
  "/site.js": ["site.js", "text/javascript; charset=utf-8"],
  "/site.css": ["site.css", "text/css; charset=utf-8"],
};

function fail(reason) {
  console.error(`sign-in: ${reason}`);
  process.exit(2);
}

function settings() {
  const names = {
    host: "127.0.0.1",
    port: "4400",
    data: ".meridian/auth",
    issuer: "",
    client: "panel",
    api: "http://localhost:7071",
    audience: "",
    origins: "",
    "life-seconds": "60",
    "rotate-seconds": "",
    "grace-seconds": "",
    "rate-limit": "off",
  };
  let given;
  try {
    const options = Object.fromEntries(Object.keys(names).map((name) => [name, { type: "string" }]));
    given = parseArgs({ options }).values;
  } catch (error) {
    fail(error.message);
  }
  const get = (name) =>
    given[name] ?? process.env[`MERIDIAN_AUTH_${name.toUpperCase().replaceAll("-", "_")}`] ?? names[name];
  const number = (name) => {
    const text = get(name);
    if (text === "") return undefined;
    if (!/^\d+$/.test(text)) fail(`--${name} must be a whole number, not ${JSON.stringify(text)}`);
    return Number(text);
  };
  const port = number("port");
  if (port === undefined || port > 65535) fail(`--port must be between 0 and 65535, not ${port}`);
  const api = get("api").replace(/\/$/, "");
  return {
    host: get("host"),
    port,
    data: get("data"),
    issuer: get("issuer").replace(/\/$/, ""),
    client: get("client"),
    api,
    audience: get("audience") || `${api}/v1/auth/token`,
    origins: get("origins").split(",").filter(Boolean),
    lifeSeconds: number("life-seconds"),
    rotateSeconds: number("rotate-seconds"),
    graceSeconds: number("grace-seconds"),
    rateLimit: get("rate-limit") === "on",
  };
}

/** The secret that signs cookies and encrypts keys: made once, kept beside the data, readable by its owner alone. */
async function secretOf(folder) {
  const path = join(folder, "secret");
  try {
    await writeFile(path, randomBytes(32).toString("base64url"), { mode: 0o600, flag: "wx" });
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
  }
  return (await readFile(path, "utf8")).trim();
}

const SECURITY = {
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "x-frame-options": "DENY",
  "cache-control": "no-store",
};

function answer(response, status, body, type = "application/json") {
  response.writeHead(status, { ...SECURITY, "content-type": type });
  response.end(type === "application/json" ? JSON.stringify(body) : body);
}

async function bodyOf(request, limit = 16 * 1024) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > limit) throw new Error("the body is too large");
    chunks.push(chunk);
  }
  return JSON.parse(Buffer.concat(chunks).toString("utf8") || "{}");
}

async function main() {
  const options = settings();
  await mkdir(options.data, { recursive: true, mode: 0o700 });
  const server = createServer();
  server.on("error", (error) =>
    fail(
      error.code === "EADDRINUSE"
        ? `port ${options.port} is in use; stop what uses it, or choose another with --port`
        : `cannot listen on ${options.host}:${options.port} (${error.code}); choose another with --port`,
    ),
  );
  // The address is taken first (with port 0 the issuer follows from it); whoever calls early waits for the rest.
  let opened;
  const ready = new Promise((resolve) => (opened = resolve));
  server.on("request", async (request, response) => (await ready)(request, response));
  await new Promise((resolve) => server.listen(options.port, options.host, resolve));
  options.issuer ||= `http://localhost:${server.address().port}`;
  options.secret = await secretOf(options.data);

  const { auth, database } = await openAuth(options);
  const betterAuth = toNodeHandler(auth);
  const codes = new CodeDesk(auth);
  const page = {
    connect: new URL(options.api).origin,
    config: { api: options.api, client: options.client, exchange: options.audience },
  };

  async function route(request, response) {
    const url = new URL(request.url, options.issuer);
    if (url.pathname.startsWith("/api/auth/")) return betterAuth(request, response);
    if (request.method === "GET" && url.pathname === "/healthz") return answer(response, 200, { status: "ok" });
    if (request.method === "GET" && url.pathname === "/config.json") return answer(response, 200, page.config);
    if (request.method === "POST" && url.pathname === "/cli/authorize") {
      if (request.headers.origin !== options.issuer) return answer(response, 403, { message: "wrong origin" });
      const session = await auth.api.getSession({ headers: fromNodeHeaders(request.headers) });
      if (!session) return answer(response, 401, { message: "sign in first" });
      return answer(response, ...codes.issue(session, await bodyOf(request)));
    }
    if (request.method === "POST" && url.pathname === "/cli/token")
      return answer(response, ...(await codes.redeem(await bodyOf(request))));
    const file = request.method === "GET" && FILES[url.pathname];
    if (!file) return answer(response, 404, { message: "there is nothing here" });
    response.setHeader(
      "content-security-policy",
      `default-src 'self'; connect-src 'self' ${page.connect}; frame-ancestors 'none'; base-uri 'none'; form-action 'self'`,
    );
    answer(response, 200, readFileSync(join(SITE, file[0])), file[1]);
  }

  opened((request, response) => {
    route(request, response).catch((error) => {
      console.error(`sign-in: ${request.method} ${request.url?.split("?")[0]}: ${error.message}`);
      if (!response.headersSent) answer(response, 400, { message: "the request could not be read" });
      else response.destroy();
    });
  });
  const stop = () => {
    server.close();
    server.closeAllConnections();
    database.close();
    process.exit(0);
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
  console.error(`sign-in: ${options.issuer} (tokens for ${options.audience}, data in ${options.data})`);
}

main().catch((error) => {
  if (error.code === "SQLITE_NOTADB" || error.code === "SQLITE_CORRUPT")
    fail(`the database is damaged (${error.message}); put a copy in its place, or move it away to start afresh`);
  fail(error.message);
});
