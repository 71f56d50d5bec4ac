"use strict";
// Reads /openapi.json and shows it. No text of it becomes HTML: everything is made of text nodes.

const list = document.getElementById("list");
const main = document.getElementById("call");
const search = document.getElementById("search");
let api;
let calls = [];

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== null));
  return element;
}

function resolve(schema) {
  const name = schema && schema.$ref;
  if (!name) return schema || {};
  const found = name.slice(2).split("/").reduce((at, part) => at && at[part], api);
  return { ...found, ...schema, $ref: undefined, named: name.split("/").pop() };
}

// Several actions of one path are calls of their own here, as they are in ZStack.
function read(document) {
  const found = [];
  for (const [path, item] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(item)) {
      const body = operation.requestBody && operation.requestBody.content["application/json"].schema;
      const bodies = body ? body.oneOf || [body] : [null];
      for (const one of bodies) {
        const name = bodies.length > 1 ? one.title : operation.operationId;
        found.push({ name, path, method: method.toUpperCase(), operation, body: one, tag: operation.tags[0] });
      }
    }
  }
  return found;
}

function kind(schema) {
  const s = resolve(schema);
  if (s.enum) return s.enum.filter((one) => one !== null).join(" | ");
  if (s.oneOf && s.oneOf.every((one) => one.const !== undefined)) return s.oneOf.map((one) => one.const).join(" | ");
  if (s.oneOf) return s.oneOf.map((one) => (one.enum || [one.const || kind(one)]).join(" | ")).join(" | ");
  if (s.anyOf) return s.anyOf.filter((one) => one.type !== "null").map(kind).join(" or ");
  const types = [].concat(s.type || "anything").filter((type) => type !== "null");
  if (types[0] === "array") return "list of " + (s.items ? kind(s.items) : "anything");
  if (types[0] === "string" && (s.pattern || "").includes("{32}")) return "uuid";
  if (types[0] === "string" && (s.pattern || "").includes("[AP]M")) return "moment";
  if (types[0] === "object" && s.additionalProperties && s.additionalProperties !== true) return "map of " + kind(s.additionalProperties);
  return types.join(" or ");
}

function bounds(schema) {
  const s = resolve(schema);
  const parts = [];
  if (s.minimum !== undefined && s.maximum !== undefined) parts.push(s.minimum + " to " + s.maximum);
  else if (s.minimum !== undefined) parts.push("at least " + s.minimum);
  if (s.default !== undefined && s.default !== null && !(Array.isArray(s.default) && !s.default.length)) parts.push("default " + JSON.stringify(s.default));
  if (s.description) parts.push(s.description);
  return parts.join("; ");
}

function example(name, schema, depth) {
  const s = resolve(schema);
  const choice = (s.enum && s.enum[0]) || (s.oneOf && s.oneOf[0] && (s.oneOf[0].const || (s.oneOf[0].enum || [])[0]));
  if (choice !== undefined && choice !== null) return choice;
  if (s.anyOf) return example(name, s.anyOf.find((one) => one.type !== "null"), depth);
  const type = [].concat(s.type || "string").find((one) => one !== "null");
  if (type === "integer" || type === "number") return s.minimum || 1;
  if (type === "boolean") return true;
  if (type === "array") return s.items ? [example(name, s.items, depth + 1)] : [];
  if (type === "object") return depth > 3 ? {} : members(s, depth + 1);
  if ((s.pattern || "").includes("{32}")) return "36c27e8ff05c4780bf6d2fa65700f22e";
  if ((s.pattern || "").includes("{128}")) return "<sha512 of the password>";
  return name || "…";
}

// What must be there; everything when nothing must.
function members(schema, depth) {
  const shown = {};
  const all = Object.entries(schema.properties || {});
  const must = all.filter(([name]) => (schema.required || []).includes(name));
  for (const [name, one] of must.length ? must : all) shown[name] = example(name, one, depth);
  return shown;
}

function rows(entries) {
  const table = make("table", {}, make("tr", {}, make("th", {}, "name"), make("th", {}, "type"), make("th", {}, "")));
  const first = [...entries].sort((a, b) => Number(b[2] || false) - Number(a[2] || false));
  for (const [name, schema, must, told] of first) {
    const label = make("td", {}, make("code", {}, name));
    if (must) label.append(" ", make("span", { class: "must", title: "must be given" }, "*"));
    table.append(make("tr", {}, label, make("td", {}, kind(schema)), make("td", {}, [told, bounds(schema)].filter(Boolean).join("; "))));
  }
  return table;
}

function sample(title, text) {
  const button = make("button", { type: "button" }, "copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "copied";
    } catch {
      // Clipboards are for https alone: it is selected instead.
      getSelection().selectAllChildren(button.nextSibling);
      button.textContent = "press Ctrl+C";
    }
    setTimeout(() => (button.textContent = "copy"), 2000);
  });
  return [make("h3", {}, title), make("div", { class: "sample" }, button, make("pre", {}, text))];
}

function quoted(text) {
  return "'" + text.replaceAll("'", "'\\''") + "'";
}

function curl(call, parameters, body) {
  const query = parameters
    .filter((one) => one.in === "query" && one.required)
    .map((one) => one.name + "=" + encodeURIComponent(example(one.name, one.schema, 0)));
  const path = call.path.replaceAll("{", "$").replaceAll("}", "");
  const url = `"$API${path}${query.length ? "?" + query.join("&") : ""}"`;
  const open = (call.operation.security || api.security).some((one) => !Object.keys(one).length);
  const parts = ["curl" + (call.method === "GET" ? "" : " -X " + call.method)];
  if (!open) parts.push('-H "Authorization: OAuth $SESSION"');
  parts.push(url);
  if (body) parts.push("-d " + quoted(JSON.stringify(body)));
  return `API=${location.origin}/zstack/v1\n${parts.join(" \\\n  ")}`;
}

function answers(call) {
  const table = make("table", {}, make("tr", {}, make("th", {}, "status"), make("th", {}, "")));
  for (const [status, one] of Object.entries(call.operation.responses)) {
    const response = resolve(one);
    const cell = make("td", {}, response.description);
    if (status >= "400") cell.append(" ", make("a", { href: "/docs/errors" }, "errors"));
    table.append(make("tr", {}, make("td", {}, make("code", {}, status)), cell));
  }
  return table;
}

// The inventory that a call answers, at once or at the end of its job.
function inventory(call) {
  if (call.operation["x-inventory"]) return resolve(call.operation["x-inventory"]);
  const done = call.operation.responses["200"];
  const reply = done && resolve(resolve(done).content["application/json"].schema);
  if (!reply || !reply.properties) return null;
  const list = reply.properties.inventories;
  if (list && list.items) return resolve(list.items);
  return reply.properties.inventory ? resolve(reply.properties.inventory) : reply;
}

function show(call) {
  const { operation, body } = call;
  const parameters = (operation.parameters || []).map(resolve);
  const inner = body ? Object.entries(body.properties).find(([name]) => !/Tags$/.test(name)) : null;
  const schema = inner ? resolve(inner[1].anyOf ? inner[1].anyOf[0] : inner[1]) : null;
  const description = (schema && schema.description) || (call.name === operation.operationId && operation.description);
  const notes = make("div", { class: "notes" });
  if (operation["x-admin"]) notes.append(make("span", {}, "administrator"));
  if (operation.responses["202"]) notes.append(make("span", {}, "a job: 202, then poll"));
  if (operation.security) notes.append(make("span", {}, "no session needed"));
  const view = [
    make("h2", {}, call.name),
    make("div", { class: "place" }, make("span", { class: call.method }, call.method), " /zstack/v1" + call.path),
    notes,
    description && make("p", {}, description),
  ];
  const stand = (where, title) => {
    const some = parameters.filter((one) => one.in === where);
    if (some.length) view.push(make("h3", {}, title), rows(some.map((one) => [one.name, one.schema, one.required, one.description])));
  };
  stand("path", "In the path");
  stand("query", "In the URL");
  let sent = null;
  if (schema) {
    const all = Object.entries(schema.properties || {});
    sent = { [inner[0]]: members(schema, 0) };
    if (!(schema.required || []).length) sent[inner[0]] = {};
    if (all.length) view.push(make("h3", {}, `In the body, in “${inner[0]}”`), rows(all.map(([name, one]) => [name, one, (schema.required || []).includes(name)])));
    view.push(...sample("Body", JSON.stringify(all.length ? { [inner[0]]: members(schema, 0) } : sent, null, 2)));
  }
  view.push(...sample("curl", curl(call, parameters, sent)));
  stand("header", "Headers");
  view.push(make("h3", {}, "Answers"), answers(call));
  const shown = inventory(call);
  if (shown && shown.properties) {
    view.push(make("h3", {}, shown.named || "The answer"), rows(Object.entries(shown.properties).map(([name, one]) => [name, one])));
  }
  main.replaceChildren(...view.filter(Boolean));
  main.scrollTop = 0;
  if (main.offsetTop > 200) main.scrollIntoView();
  document.title = call.name + " · Cumulet API";
}

function welcome() {
  main.replaceChildren(
    make("h2", {}, api.info.title),
    make("p", {}, api.info.description),
    make("p", {}, "Log in, then send the session with every call:"),
    ...sample("Log in", `API=${location.origin}/zstack/v1\nHASH=$(printf %s "$PASSWORD" | sha512sum | cut -d' ' -f1)\nSESSION=$(curl -s -X PUT $API/accounts/login \\\n  -d '{"logInByAccount": {"accountName": "admin", "password": "'$HASH'"}}' | jq -r .inventory.uuid)`),
    make("p", {}, "Every refusal names a code: ", make("a", { href: "/docs/errors" }, "what they mean"), "."),
  );
  document.title = "Cumulet API";
}

// Words in any order, within the name, the path or the resource.
function fill() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (call) => words.every((word) => `${call.name} ${call.method} ${call.path} ${call.tag}`.toLowerCase().includes(word));
  const current = decodeURIComponent(location.hash.slice(1));
  const groups = new Map();
  for (const call of calls.filter(fits)) groups.set(call.tag, [...(groups.get(call.tag) || []), call]);
  const order = api.tags.map((tag) => tag.name);
  const told = [...groups].sort(([a], [b]) => (order.indexOf(a) + 999) % 999 - (order.indexOf(b) + 999) % 999).map(([tag, some]) => {
    const open = words.length > 0 || some.some((call) => call.name === current);
    const links = some.map((call) =>
      make("a", { href: "#" + call.name, "aria-current": call.name === current ? "page" : null },
        make("span", { class: "verb " + call.method }, call.method), make("span", {}, call.name)));
    return make("details", { open: open ? "" : null }, make("summary", {}, tag + " ", make("small", {}, some.length)), ...links);
  });
  list.replaceChildren(...(told.length ? told : [make("p", { class: "none" }, "No call is called so.")]));
}

function route() {
  const name = decodeURIComponent(location.hash.slice(1));
  const call = calls.find((one) => one.name === name);
  if (call) show(call);
  else welcome();
  fill();
  const here = list.querySelector("[aria-current]");
  if (here) here.scrollIntoView({ block: "nearest" });
}

search.addEventListener("input", fill);
search.addEventListener("keydown", (event) => {
  const first = list.querySelector("details[open] a");
  if (event.key === "Enter" && first) location.hash = first.getAttribute("href");
  if (event.key === "ArrowDown" && first) { event.preventDefault(); first.focus(); }
});
list.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  const all = [...list.querySelectorAll("summary, details[open] a")];
  const next = all[all.indexOf(document.activeElement) + step];
  event.preventDefault();
  (next || search).focus();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== search) { event.preventDefault(); search.focus(); }
});
addEventListener("hashchange", route);

fetch("/openapi.json")
  .then((answer) => answer.json())
  .then((document) => {
    api = document;
    calls = read(document);
    globalThis.document.getElementById("version").textContent = api.info.version;
    route();
  })
  .catch((error) => main.replaceChildren(make("p", {}, "The API cannot be read: " + error.message)));
