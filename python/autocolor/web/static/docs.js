// The page of the HTTP API, made from openapi.json.

import { $, element } from "./page.js";

const code = (text) => element("code", { textContent: text });
const block = (value) => element("pre", { tabIndex: 0, textContent: JSON.stringify(value, null, 2) });

function operation(method, path, { summary, parameters, requestBody, responses }) {
  const parts = [];
  if (parameters.length) {
    parts.push(element("p", {}, "Parameters: ", ...parameters.flatMap(({ name, in: place }) => [code(name), ` (${place}) `])));
  }
  for (const [kind, { schema }] of Object.entries(requestBody?.content ?? {})) {
    parts.push(element("p", {}, "Body: ", code(kind)), block(schema));
  }
  for (const [status, { content = {} }] of Object.entries(responses)) {
    const kinds = Object.entries(content).map(([kind, { schema }]) => `${kind} ${schema.$ref?.split("/").pop() ?? ""}`.trim());
    parts.push(element("p", {}, `${status}: `, code(kinds.join() || "no content")));
  }
  return element("section", {}, element("h3", {}, code(`${method.toUpperCase()} ${path}`)), element("p", { textContent: summary }), ...parts);
}

const { paths, components } = await (await fetch("api/openapi.json")).json();
$("example").textContent =
  `curl -F file=@photo.jpg -F 'controls={"strength": 1.2}' ${location.origin}/api/colorize -o colorized.png`;
$("operations").append(...Object.entries(paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, described]) => operation(method, path, described))));
$("schemas").append(...Object.entries(components.schemas).map(([name, schema]) =>
  element("section", { id: name }, element("h3", {}, code(name)), block(schema))));
document.body.dataset.ready = "true";
