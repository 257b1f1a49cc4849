// @ts-check
/** Elements of the page, made in one call. */

import { labelled } from "./language.js";

/**
 * Make an element.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} [options] attributes; `on…` are listeners, `text` and `label` are keys of texts: of the
 *   content, and of the accessible name; other text is a child
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function make(tag, options = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "text" || name === "label") element.dataset[name] = value;
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  labelled(element);
  return element;
}

let count = 0;
/** An identifier that no other element has. */
const identifier = () => `control-${++count}`;

/**
 * A slider with its name and its value.
 * @param {object} options
 * @param {string} options.text key of its name
 * @param {number} options.min
 * @param {number} options.max
 * @param {number} options.step
 * @param {number} options.value
 * @param {(value: number) => string} [options.show] how the value is written
 * @param {(value: number) => void} options.change called with every new value
 */
export function slider({ text, min, max, step, value, show = String, change }) {
  const id = identifier();
  const output = make("output", { for: id }, show(value));
  const input = make("input", { type: "range", min, max, step, id });
  const set = (/** @type {number} */ next) => {
    input.value = String(next);
    output.textContent = show(Number(input.value));
    input.setAttribute("aria-valuetext", show(Number(input.value)));
  };
  set(value);
  input.addEventListener("input", () => {
    set(Number(input.value));
    change(Number(input.value));
  });
  const title = make("span", {}, make("label", { text, for: id }), " ", output);
  return { element: make("div", { class: "control" }, title, input), input, set };
}

/**
 * A choice of one of a few, with its name.
 * @param {object} options
 * @param {string} options.text key of its name
 * @param {Array<[string, string]>} options.choices values, and the keys of their texts
 * @param {string} options.value
 * @param {(value: string) => void} options.change
 */
export function choice({ text, choices, value, change }) {
  const options = choices.map(([name, key]) => make("option", { value: name, text: key }));
  const id = identifier();
  const select = make("select", { id, onchange: () => change(select.value) }, ...options);
  select.value = value;
  return { element: make("div", { class: "control" }, make("label", { text, for: id }), select), select };
}
