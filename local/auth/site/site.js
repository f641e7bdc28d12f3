// Sign in at this site, exchange its token at the API, show who one is. Tokens live in this page's memory alone.
const $ = (id) => document.getElementById(id);
const config = await (await fetch("/config.json")).json();
const asked = new URLSearchParams(location.search); // /cli?challenge=...&port=...&state=...
let access = null;
let signingUp = false;

function say(text, wrong = false) {
  $("message").textContent = text;
  $("message").classList.toggle("wrong", wrong);
}

async function busy(button, work) {
  button.disabled = true;
  say("");
  try {
    await work();
  } catch (error) {
    say(error.message, true);
  } finally {
    button.disabled = false;
  }
}

async function site(path, body) {
  const reply = await fetch(path, {
    method: body === undefined ? "GET" : "POST",
    headers: body === undefined ? {} : { "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const answer = await reply.json().catch(() => null);
  if (!reply.ok) throw new Error(answer?.message ?? `The sign-in site answered ${reply.status}.`);
  return answer;
}

async function exchange(organization) {
  const { token } = await site("/api/auth/token");
  const form = new URLSearchParams({
    grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
    subject_token: token,
    subject_token_type: "urn:ietf:params:oauth:token-type:jwt",
    client_id: config.client,
  });
  if (organization) form.set("organization", organization);
  const reply = await fetch(config.exchange, { method: "POST", body: form });
  const answer = await reply.json();
  if (!reply.ok) throw new Error(answer.error_description ?? answer.detail ?? `The API answered ${reply.status}.`);
  access = answer.access_token;
  return answer;
}

async function api(method, path, body) {
  const headers = { authorization: `Bearer ${access}` };
  if (method === "POST") headers["idempotency-key"] = crypto.randomUUID();
  if (body !== undefined) headers["content-type"] = "application/json";
  const reply = await fetch(config.api + path, {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const answer = reply.status === 204 ? null : await reply.json();
  if (!reply.ok) throw new Error(answer.detail ?? answer.title);
  return answer;
}

function row(text, note, action) {
  const item = document.createElement("li");
  item.append(text);
  const small = document.createElement(action ? "button" : "small");
  small.textContent = note;
  if (action) small.addEventListener("click", () => busy(small, action));
  item.append(small);
  return item;
}

async function show(organization) {
  const token = await exchange(organization);
  const me = await api("GET", "/v1/me");
  const [{ items: mine }, { items: invited }] = await Promise.all([
    api("GET", "/v1/me/organizations"),
    api("GET", "/v1/me/invitations"),
  ]);
  $("greeting").textContent = `Hello, ${me.name ?? me.email}`;
  const facts = { User: me.id, "E-mail": `${me.email} (${me.email_verified ? "verified" : "not verified yet"})` };
  $("facts").replaceChildren(
    ...Object.entries(facts).flatMap(([term, text]) => {
      const [name, value] = [document.createElement("dt"), document.createElement("dd")];
      name.textContent = term;
      value.textContent = text;
      return [name, value];
    }),
  );
  $("organizations").replaceChildren(
    ...mine.map((one) => {
      const here = one.id === token.organization;
      const item = here ? row(one.name, one.role) : row(one.name, "Switch", () => show(one.id));
      item.classList.toggle("here", here);
      return item;
    }),
  );
  if (mine.length === 0) $("organizations").append(row("None yet: found one, or accept an invitation.", ""));
  $("invitations").hidden = invited.length === 0;
  $("invitation-list").replaceChildren(
    ...invited.map((one) =>
      row(`${one.organization} (${one.role})`, "Accept", async () => {
        await api("POST", `/v1/me/invitations/${one.id}/accept`);
        await show();
      }),
    ),
  );
  await showLink();
  $("next").hidden = location.pathname === "/cli";
  $("cli").hidden = location.pathname !== "/cli" || !asked.get("challenge");
  $("door").hidden = true;
  $("inside").hidden = false;
}

/** The invitation of the link that this page was opened with (/?invitation=...), until it is answered. */
async function showLink() {
  const secret = asked.get("invitation");
  if (!secret) return;
  let offer;
  try {
    offer = await api("POST", "/v1/invitations/preview", { token: secret });
  } catch (error) {
    asked.delete("invitation");
    return say(error.message, true);
  }
  $("invitations").hidden = false;
  $("invitation-list").prepend(
    row(`${offer.organization} (${offer.role})`, "Accept", async () => {
      const joined = await api("POST", "/v1/invitations/accept", { token: secret });
      asked.delete("invitation");
      history.replaceState(null, "", "/"); // the secret is used up; it need not stay in the address bar
      await show(joined.organization);
    }),
  );
}

function choose(up) {
  signingUp = up;
  $("to-sign-in").setAttribute("aria-pressed", String(!up));
  $("to-sign-up").setAttribute("aria-pressed", String(up));
  $("name-field").hidden = $("password-hint").hidden = !up;
  $("submit").textContent = up ? "Sign up" : "Sign in";
  $("credentials").password.minLength = up ? 10 : 0; // a short password at the door is a wrong one: the site says so
  $("credentials").password.autocomplete = up ? "new-password" : "current-password";
}

$("to-sign-in").addEventListener("click", () => choose(false));
$("to-sign-up").addEventListener("click", () => choose(true));

$("credentials").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  busy($("submit"), async () => {
    const { email, password } = Object.fromEntries(new FormData(form));
    if (signingUp)
      await site("/api/auth/sign-up/email", { email, password, name: form.elements.name.value || email.split("@")[0] });
    else await site("/api/auth/sign-in/email", { email, password });
    form.password.value = "";
    await show();
  });
});

$("found").addEventListener("submit", (event) => {
  event.preventDefault();
  busy(event.submitter, async () => {
    const founded = await api("POST", "/v1/organizations", { name: event.target.elements.name.value });
    event.target.reset();
    await show(founded.id);
  });
});

$("cli").addEventListener("submit", (event) => {
  event.preventDefault();
  busy(event.submitter, async () => {
    const { code } = await site("/cli/authorize", { challenge: asked.get("challenge") });
    const port = Number(asked.get("port"));
    if (!Number.isInteger(port) || port < 1 || port > 65535) throw new Error("The command line gave no port.");
    const back = new URLSearchParams({ code, state: asked.get("state") ?? "" });
    location.assign(`http://127.0.0.1:${port}/callback?${back}`); // loopback only: RFC 8252, 7.3
  });
});

$("sign-out").addEventListener("click", (event) =>
  busy(event.target, async () => {
    await site("/api/auth/sign-out", {});
    access = null;
    $("inside").hidden = true;
    $("door").hidden = false;
  }),
);

const session = await site("/api/auth/get-session");
if (session) await show().catch((error) => say(error.message, true));
if ($("inside").hidden) $("door").hidden = false;
