// Draws the API's OpenAPI document. No library: the document is ours, so only what it uses is drawn.
const METHODS = ["get", "post", "put", "patch", "delete"];
const index = document.getElementById("index");
const main = document.getElementById("routes");
const search = document.getElementById("search");

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Text in which `this` stands for code, as the descriptions write it. */
function prose(text) {
  const parts = String(text ?? "").split("`");
  return parts.map((part, place) => (place % 2 && place < parts.length - 1 ? element("code", {}, part) : part));
}

function resolved(api, thing) {
  if (!thing || !thing.$ref) return thing;
  return thing.$ref.slice(2).split("/").reduce((at, part) => at[part.replaceAll("~1", "/").replaceAll("~0", "~")], api);
}

function typeOf(api, schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  for (const key of ["anyOf", "oneOf"]) if (schema[key]) return schema[key].map((each) => typeOf(api, each)).join(" | ");
  if (schema.type === "array") return `${typeOf(api, schema.items)}[]`;
  if (schema.type === "object" && schema.additionalProperties) return `{ [name]: ${typeOf(api, schema.additionalProperties)} }`;
  return schema.format ? `${schema.type} (${schema.format})` : String(schema.type ?? "any");
}

function limitsOf(schema) {
  const names = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "pattern", "minItems", "maxItems", "default"];
  return names.filter((name) => schema[name] !== undefined).map((name) => `${name} ${JSON.stringify(schema[name])}`).join(", ");
}

function exampleOf(api, schema, depth = 0) {
  schema = resolved(api, schema);
  if (!schema || depth > 6) return null;
  if (schema.examples) return schema.examples[0];
  if (schema.default !== undefined) return schema.default;
  if (schema.const !== undefined) return schema.const;
  if (schema.enum) return schema.enum[0];
  const options = schema.anyOf ?? schema.oneOf;
  if (options) return exampleOf(api, options.find((each) => each.type !== "null"), depth + 1);
  if (schema.type === "object" || schema.properties) {
    return Object.fromEntries(Object.entries(schema.properties ?? {}).map(([name, value]) => [name, exampleOf(api, value, depth + 1)]));
  }
  if (schema.type === "array") return [exampleOf(api, schema.items, depth + 1)];
  return { string: schema.format === "date-time" ? "2026-01-31T09:30:00.000Z" : "text", integer: 0, number: 0, boolean: false }[schema.type] ?? null;
}

function table(heads, rows) {
  if (!rows.length) return null;
  return element("table", {}, element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", {}, head)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, ...(typeof cell === "string" ? prose(cell) : [cell])))))));
}

function fields(api, schema) {
  const found = resolved(api, schema);
  const rows = Object.entries(found?.properties ?? {}).map(([name, value]) => [
    element("code", {}, name + ((found.required ?? []).includes(name) ? "" : "?")), typeOf(api, value), [value.description, limitsOf(value)].filter(Boolean).join("; "),
  ]);
  return table(["Field", "Type", "Meaning and limits"], rows);
}

function bodyOf(api, content, title) {
  const [media, value] = Object.entries(content ?? {})[0] ?? [];
  if (!media || !value.schema) return null;
  const parts = element("section", {}, element("h4", {}, `${title}: ${media}, ${typeOf(api, value.schema)}`), fields(api, value.schema));
  parts.append(element("pre", {}, JSON.stringify(exampleOf(api, value.schema), null, 2)));
  return parts;
}

function operation(api, path, method, route) {
  const facts = [
    route.security.length ? Object.keys(route.security[0])[0].replaceAll("_", " ") : "no sign-in",
    route["x-permission"] && `permission ${route["x-permission"]}`, `rate class ${route["x-rate-class"]}`, route.deprecated && "deprecated",
  ].filter(Boolean).join(" · ");
  const parameters = (route.parameters ?? []).map((each) => [
    element("code", {}, each.name + (each.required ? "" : "?")), each.in, typeOf(api, each.schema), [each.description, limitsOf(each.schema)].filter(Boolean).join("; "),
  ]);
  const answers = Object.entries(route.responses).map(([status, answer]) => [element("code", {}, status), resolved(api, answer).description]);
  const success = Object.entries(route.responses).find(([status]) => status.startsWith("2"));
  return element("details", { id: route.operationId, "data-words": `${method} ${path} ${route.operationId} ${route.summary} ${facts}`.toLowerCase() },
    element("summary", {}, element("span", { class: `method ${method}` }, method.toUpperCase()), element("code", {}, path), ...prose(route.summary)),
    element("div", {}, element("p", { class: "facts" }, facts), route.description ? element("p", {}, ...prose(route.description)) : null,
      table(["Parameter", "In", "Type", "Meaning and limits"], parameters), bodyOf(api, route.requestBody?.content, "Body"),
      success ? bodyOf(api, resolved(api, success[1]).content, `Answer ${success[0]}`) : null, element("h4", {}, "Answers"), table(["Status", "Codes"], answers)));
}

function draw(api) {
  main.replaceChildren(element("p", {}, ...prose(api.info.description)));
  for (const { name } of api.tags) {
    index.append(element("h2", {}, name));
    main.append(element("h2", {}, name));
    for (const [path, item] of Object.entries(api.paths)) for (const method of METHODS) {
      const route = item[method];
      if (!route || !route.tags.includes(name)) continue;
      index.append(element("a", { href: `#${route.operationId}`, title: `${method.toUpperCase()} ${path}` }, ...prose(route.summary)));
      main.append(operation(api, path, method, route));
    }
  }
}

function show() {
  const target = document.getElementById(location.hash.slice(1));
  if (target?.tagName === "DETAILS") { target.open = true; target.scrollIntoView(); }
}

search.addEventListener("input", () => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const each of main.querySelectorAll("details")) each.hidden = !words.every((word) => each.dataset.words.includes(word));
});
addEventListener("hashchange", show);

try {
  const answer = await fetch("/openapi.json");
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  draw(await answer.json());
  show();
} catch (error) {
  main.replaceChildren(element("p", { role: "alert" }, `The API's description could not be read: ${error.message}`));
}
