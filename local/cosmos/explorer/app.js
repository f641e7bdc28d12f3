import { call, meter, useKey } from "/_explorer/client.js";

const at = (id) => document.getElementById(id);
const SYSTEM = new Set(["_rid", "_self", "_etag", "_attachments", "_ts"]);
const MAX_COLUMNS = 8;
let container = null; // {database, id, definition}
let open = null; // the item in the editor, as it was read
let next = null; // how to get the next page

function make(name, text, properties = {}) {
  const node = Object.assign(document.createElement(name), properties);
  if (text !== undefined) node.textContent = text;
  return node;
}

function say(where, text, kind = "") {
  at(where).textContent = text;
  at(where).className = kind;
}

const escape = (text) => JSON.stringify(text);
const keyPaths = () => container.definition.partitionKey.paths;
const follow = (item, path) => path.slice(1).split("/").reduce((value, step) => value?.[step], item);
const keyOf = (item) => JSON.stringify(keyPaths().map((path) => follow(item, path) ?? (keyPaths().length > 1 ? null : {})));
const ascii = (text) => text.replace(/[\u0080-\uffff]/g, (letter) => "\\u" + letter.charCodeAt(0).toString(16).padStart(4, "0"));

async function loadTree() {
  const tree = make("div");
  const { data } = await call("GET", ["dbs"]);
  for (const database of data.Databases) {
    tree.append(make("h2", database.id));
    const list = make("ul");
    const found = await call("GET", ["dbs", database.id, "colls"]);
    for (const definition of found.data.DocumentCollections) {
      const button = make("button", definition.id, { type: "button" });
      button.append(make("small", definition.partitionKey.paths.join(", ")));
      button.dataset.name = `${database.id}/${definition.id}`;
      button.addEventListener("click", () => choose({ database: database.id, id: definition.id, definition }));
      const entry = make("li");
      entry.append(button);
      list.append(entry);
    }
    if (!list.children.length) list.append(make("li", "no containers", { className: "hint" }));
    tree.append(list);
  }
  if (!data.Databases.length) tree.append(make("p", "No databases yet.", { className: "hint" }));
  at("tree").replaceChildren(tree);
  mark();
  await showTotals();
}

function mark() {
  const name = container && `${container.database}/${container.id}`;
  for (const button of document.querySelectorAll("#tree button")) button.setAttribute("aria-current", button.dataset.name === name);
}

async function showTotals() {
  const totals = await meter();
  at("totals").textContent = `${totals.requests.toLocaleString()} requests, ${totals.request_units.toLocaleString()} RU since start`;
  const mine = totals.containers[container ? `${container.database}/${container.id}` : ""];
  const rows = Object.entries(mine?.operations ?? {}).map(([name, used]) => {
    const row = make("tr");
    row.append(make("td", name), make("td", used.requests.toLocaleString()), make("td", used.request_units.toFixed(2)), make("td", (used.request_units / used.requests).toFixed(2)));
    return row;
  });
  at("costs").tBodies[0].replaceChildren(...rows);
}

async function choose(chosen) {
  container = chosen;
  at("start").hidden = true;
  at("workspace").hidden = false;
  at("where").textContent = `${chosen.database} / ${chosen.id}`;
  at("query").value = "SELECT * FROM c";
  at("key").value = "";
  const { _rid, _self, _etag, _ts, _docs, _sprocs, _triggers, _udfs, _conflicts, ...own } = chosen.definition;
  at("settings").textContent = JSON.stringify(own, null, 2);
  mark();
  closeItem();
  await run();
}

function keyHeader() {
  const text = at("key").value.trim();
  if (!text) return {};
  let values;
  try {
    values = JSON.parse(text);
  } catch {
    values = text; // a bare word is a string
  }
  return { "x-ms-documentdb-partitionkey": ascii(JSON.stringify(Array.isArray(values) ? values : [values])) };
}

async function run(token) {
  const headers = {
    "content-type": "application/query+json",
    "x-ms-documentdb-isquery": "true",
    "x-ms-documentdb-query-enablecrosspartition": "true",
    "x-local-merge": "true",
    "x-ms-max-item-count": at("size").value,
    ...keyHeader(),
  };
  if (token) headers["x-ms-continuation"] = token;
  at("more").hidden = true;
  try {
    const answer = await call("POST", ["dbs", container.database, "colls", container.id, "docs"], { body: { query: at("query").value, parameters: [] }, headers });
    const rows = answer.data.Documents;
    show(rows, Boolean(token));
    const total = at("rows").tBodies[0].rows.length;
    say("outcome", `${total} row${total === 1 ? "" : "s"}${answer.token ? ", more to come" : ""} · ${answer.charge.toFixed(2)} RU · ${answer.milliseconds.toFixed(0)} ms`);
    next = answer.token;
    at("more").hidden = !next;
  } catch (error) {
    say("outcome", error.message, "bad");
  }
  await showTotals();
}

function columnsOf(rows) {
  const names = new Set(["id", ...keyPaths().map((path) => path.slice(1).split("/")[0])]);
  for (const row of rows) for (const name of Object.keys(row)) if (!SYSTEM.has(name)) names.add(name);
  const there = [...names].filter((name) => rows.some((row) => name in row));
  return there.slice(0, MAX_COLUMNS);
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

let columns = [];
function show(rows, append) {
  const objects = rows.length > 0 && rows.every(isObject);
  const table = at("rows");
  if (!append) {
    columns = objects ? columnsOf(rows) : ["value"];
    const head = make("tr");
    head.append(...columns.map((name) => make("th", name, { scope: "col" })));
    table.tHead.replaceChildren(head);
    table.tBodies[0].replaceChildren();
  }
  for (const item of rows) {
    const row = make("tr");
    for (const name of columns) {
      const value = objects ? item[name] : item;
      const cell = make("td", value === undefined ? "—" : typeof value === "string" ? value : JSON.stringify(value));
      cell.className = value === undefined ? "none" : typeof value === "number" ? "number" : "";
      cell.title = cell.textContent.slice(0, 500);
      row.append(cell);
    }
    row.tabIndex = 0;
    row.addEventListener("click", () => edit(item, row));
    row.addEventListener("keydown", (event) => event.key === "Enter" && edit(item, row));
    table.tBodies[0].append(row);
  }
}

function edit(item, row) {
  for (const other of at("rows").tBodies[0].rows) other.setAttribute("aria-selected", other === row);
  const stored = isObject(item) && "_etag" in item && "id" in item;
  open = stored ? item : null;
  const own = isObject(item) ? Object.fromEntries(Object.entries(item).filter(([name]) => !SYSTEM.has(name))) : item;
  at("body").value = JSON.stringify(own, null, 2);
  at("item-title").textContent = stored ? item.id : row ? "Row (read only)" : "New item";
  at("save").hidden = Boolean(row) && !stored;
  at("delete").hidden = !stored;
  at("item").hidden = false;
  say("item-outcome", stored ? `changed ${new Date(item._ts * 1000).toLocaleString()}` : "");
}

function closeItem() {
  at("item").hidden = true;
  open = null;
}

async function save() {
  try {
    const item = JSON.parse(at("body").value);
    const headers = { "content-type": "application/json", "x-ms-documentdb-partitionkey": ascii(keyOf(item)) };
    const path = ["dbs", container.database, "colls", container.id, "docs"];
    // The item is replaced only in the version that is shown here.
    const answer = open
      ? await call("PUT", [...path, open.id], { body: item, headers: { ...headers, "if-match": open._etag } })
      : await call("POST", path, { body: item, headers });
    await run();
    edit(answer.data);
    say("item-outcome", `Saved · ${answer.charge.toFixed(2)} RU`, "good");
  } catch (error) {
    say("item-outcome", error.message, "bad");
  }
}

async function remove() {
  if (!confirm(`Delete the item ${escape(open.id)}?`)) return;
  try {
    const headers = { "x-ms-documentdb-partitionkey": ascii(keyOf(open)), "if-match": open._etag };
    await call("DELETE", ["dbs", container.database, "colls", container.id, "docs", open.id], { headers });
    closeItem();
    await run();
  } catch (error) {
    say("item-outcome", error.message, "bad");
  }
}

function newItem() {
  const item = { id: crypto.randomUUID() };
  for (const path of keyPaths()) {
    const steps = path.slice(1).split("/");
    steps.slice(0, -1).reduce((value, step) => (value[step] ??= {}), item)[steps.at(-1)] = "";
  }
  edit(item, null);
}

function showTab(name) {
  for (const tab of ["data", "settings", "costs"]) {
    at(`tab-${tab}`).setAttribute("aria-selected", tab === name);
    at(`pane-${tab}`).hidden = tab !== name;
  }
}

async function enter(text) {
  await useKey(text);
  await loadTree();
  sessionStorage.setItem("key", text);
  at("login").hidden = true;
  at("welcome").hidden = false;
}

async function begin() {
  const given = new URLSearchParams(location.hash.slice(1)).get("key");
  if (given) history.replaceState(null, "", "/"); // not to be left in the history
  const text = given ?? sessionStorage.getItem("key");
  try {
    if (!text) throw new Error("");
    await enter(text.replaceAll(" ", "+"));
  } catch (error) {
    at("login").hidden = false;
    at("welcome").hidden = true;
    at("login-outcome").textContent = error.message;
  }
}

at("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await enter(at("account-key").value.trim());
  } catch (error) {
    at("login-outcome").textContent = error.message || "That is not a key.";
  }
});
at("query-form").addEventListener("submit", (event) => {
  event.preventDefault();
  closeItem();
  run();
});
at("query").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("query-form").requestSubmit();
});
at("more").addEventListener("click", () => run(next));
at("close").addEventListener("click", closeItem);
at("save").addEventListener("click", save);
at("delete").addEventListener("click", remove);
at("new-item").addEventListener("click", newItem);
at("reload").addEventListener("click", loadTree);
for (const tab of ["data", "settings", "costs"]) at(`tab-${tab}`).addEventListener("click", () => showTab(tab));
begin();
