// @ts-check
/** The two languages of the page, switched in place. */

import { texts as english } from "./texts-en.js";
import { texts as chinese } from "./texts-zh.js";

/** @type {Record<string, Record<string, string>>} */
export const TEXTS = { en: english, zh: chinese };

let language = "en";
/** @type {Set<() => void>} */
const listeners = new Set();

/**
 * The text of a key in the language of the page.
 * @param {string} key
 * @param {Record<string, string | number>} [values] put in place of `{name}`
 */
export function say(key, values = {}) {
  const text = TEXTS[language][key];
  if (text === undefined) throw new Error(`no text for ${key}`);
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/** The language of the page, "en" or "zh". */
export const current = () => language;

/**
 * Switch all texts of the page.
 * @param {string} next "en" or "zh"
 */
export function speak(next) {
  language = next in TEXTS ? next : "en";
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  labelled(document.documentElement);
  for (const listener of listeners) listener();
}

/**
 * Call a function whenever the language changes, for texts that hold numbers.
 * @param {() => void} listener
 */
export const onLanguage = (listener) => void listeners.add(listener);

/**
 * Set the texts and accessible names of an element and of all in it.
 * @param {HTMLElement} root
 */
export function labelled(root) {
  for (const element of [root, .../** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll("[data-text], [data-label]"))]) {
    const { text, label } = element.dataset;
    if (text) element.textContent = say(text);
    if (label) element.setAttribute("aria-label", say(label));
  }
}
