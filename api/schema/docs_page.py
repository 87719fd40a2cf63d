"""The page at `/docs`: it shows `/openapi.json` and sends requests to try. One file, nothing from another host."""

from typing import Final

PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>raftmem</title>
<style>
  body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24; }
  h2 { margin: 2rem 0 .5rem; font-size: 1.1rem; }
  details { border: 1px solid #d0d7de; border-radius: 6px; margin: .4rem 0; padding: .4rem .8rem; }
  summary { cursor: pointer; }
  summary b { display: inline-block; width: 4.5rem; }
  code, pre, textarea, input { font: 13px/1.4 ui-monospace, monospace; }
  pre { background: #f6f8fa; padding: .6rem; overflow: auto; max-height: 30rem; white-space: pre-wrap; }
  table { border-collapse: collapse; width: 100%; }
  td { border-top: 1px solid #eaeef2; padding: .3rem .5rem .3rem 0; vertical-align: top; }
  input { width: 14rem; } textarea { width: 100%; height: 8rem; box-sizing: border-box; }
</style>
<h1>raftmem</h1>
<p id="about">Reading <a href="/openapi.json">/openapi.json</a> …</p>
<main></main>
<script>
"use strict";
function element(tag, text, ...children) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}
function pretty(value) { return JSON.stringify(value, null, 2); }
function resolved(value, schemas, within) {
  if (Array.isArray(value)) return value.map(one => resolved(one, schemas, within));
  if (value === null || typeof value !== "object") return value;
  if (typeof value.$ref === "string") {
    const name = value.$ref.split("/").pop();
    return within.includes(name) || !(name in schemas) ? name : resolved(schemas[name], schemas, [...within, name]);
  }
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, resolved(one, schemas, within)]));
}
function parameters(operation) {
  const inputs = [], table = element("table");
  for (const parameter of operation.parameters) {
    const input = element("input");
    input.setAttribute("aria-label", parameter.name);
    inputs.push([parameter, input]);
    table.append(element("tr", "",
      element("td", "", element("code", parameter.name), element("div", parameter.in)),
      element("td", "", input),
      element("td", parameter.description || "", element("pre", JSON.stringify(parameter.schema)))));
  }
  return [table, inputs];
}
async function send(method, path, inputs, body, shown) {
  const query = new URLSearchParams(), headers = {};
  for (const [parameter, input] of inputs) {
    if (input.value === "") continue;
    if (parameter.in === "path") path = path.replace("{" + parameter.name + "}", encodeURIComponent(input.value));
    else if (parameter.in === "header") headers[parameter.name] = input.value;
    else if (parameter.schema.type === "array")
      for (const one of input.value.split(",")) query.append(parameter.name, one);
    else query.append(parameter.name, input.value);
  }
  if (body !== undefined && body !== "") headers["Content-Type"] = "application/json";
  const target = query.size ? path + "?" + query : path;
  shown.textContent = method + " " + target + " …";
  try {
    const reply = await fetch(target, { method, headers, body: body || undefined });
    let text = await reply.text();
    try { text = pretty(JSON.parse(text)); } catch { /* not JSON: shown as it came */ }
    const head = [...reply.headers].map(([name, value]) => name + ": " + value).join("\\n");
    shown.textContent = method + " " + target + "\\n\\n" + reply.status + "\\n" + head + "\\n\\n" + text;
  } catch (error) { shown.textContent = String(error); }
}
function route(path, method, operation, schemas) {
  const [table, inputs] = parameters(operation);
  const box = element("details", "", element("summary", "", element("b", method), element("code", path)),
    element("p", operation.summary), table);
  let text;
  if (operation.requestBody) {
    const schema = operation.requestBody.content["application/json"].schema;
    text = element("textarea");
    text.placeholder = "JSON";
    text.setAttribute("aria-label", "body");
    box.append(element("h4", "Body"), text,
      element("details", "", element("summary", "Schema"), element("pre", pretty(resolved(schema, schemas, [])))));
  }
  const replies = element("table");
  for (const [status, reply] of Object.entries(operation.responses))
    replies.append(element("tr", "", element("td", status), element("td", reply.description)));
  box.append(element("h4", "Replies"), replies);
  if (!Object.values(operation.responses).some(one => one.content && "text/event-stream" in one.content)) {
    const shown = element("pre"), button = element("button", "Send");
    button.onclick = () => send(method, path, inputs, text && text.value, shown);
    box.append(button, shown);
  }
  return box;
}
fetch("/openapi.json").then(reply => reply.json()).then(found => {
  document.getElementById("about").replaceChildren(found.info.description + " Version " + found.info.version + ". ",
    Object.assign(element("a", "/openapi.json"), { href: "/openapi.json" }));
  const main = document.querySelector("main");
  let last = "";
  for (const [path, methods] of Object.entries(found.paths)) {
    const noun = path.split("/")[path.startsWith("/v1/") ? 2 : 1];
    if (noun !== last) main.append(element("h2", last = noun));
    for (const [method, operation] of Object.entries(methods))
      main.append(route(path, method.toUpperCase(), operation, found.components.schemas));
  }
}).catch(error => { document.getElementById("about").textContent = String(error); });
</script>
</html>
"""
