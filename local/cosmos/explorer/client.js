// A small client of the REST protocol: signs with the account key, which stays in this tab.
let key = null;

export async function useKey(text) {
  const raw = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  key = await crypto.subtle.importKey("raw", raw, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
}

async function signature(method, kind, link, date) {
  const text = `${method.toLowerCase()}\n${kind}\n${link}\n${date.toLowerCase()}\n\n`;
  const made = new Uint8Array(await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(text)));
  return encodeURIComponent(`type=master&ver=1.0&sig=${btoa(String.fromCharCode(...made))}`);
}

// `path` is an array of names, such as ["dbs", "d", "colls", "c", "docs"].
export async function call(method, path, { body, headers = {} } = {}) {
  const feed = path.length % 2 === 1;
  const kind = feed ? path.at(-1) : path.at(-2);
  const link = (feed ? path.slice(0, -1) : path).join("/");
  const date = new Date().toUTCString();
  const started = performance.now();
  const answer = await fetch("/" + path.map(encodeURIComponent).join("/"), {
    method,
    body: body === undefined ? undefined : JSON.stringify(body),
    headers: { authorization: await signature(method, kind, link, date), "x-ms-date": date, "x-ms-version": "2020-07-15", ...headers },
  });
  const text = await answer.text();
  const data = text ? JSON.parse(text) : null;
  if (!answer.ok) throw new Error(data?.message ?? `The endpoint answered ${answer.status}.`);
  return {
    data,
    charge: Number(answer.headers.get("x-ms-request-charge")),
    token: answer.headers.get("x-ms-continuation"),
    milliseconds: performance.now() - started,
  };
}

export async function meter() {
  return (await fetch("/_local/meter")).json();
}
