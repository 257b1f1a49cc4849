// @ts-check
/** The page: its tabs, languages and themes. */

import { make } from "./app/dom.js";
import { current, labelled, say, speak } from "./app/language.js";
import { keep, recall } from "./app/state.js";

/** Tabs by name, with the modules that fill them when they are first shown. */
const TABS = ["denoise", "code", "normalisation", "batch", "photograph"];
// A page that `hourglass inspect` has written shows images of its user first.
if ("inspect" in document.documentElement.dataset) TABS.unshift("inspect");
const built = new Set();

/** @param {string} id */
const find = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** @param {string} name */
async function show(name) {
  for (const each of TABS) {
    const tab = find(`tab-${each}`);
    tab.setAttribute("aria-selected", String(each === name));
    tab.tabIndex = each === name ? 0 : -1;
    if (each === name) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    find(`panel-${each}`).hidden = each !== name;
  }
  keep("tab", name);
  document.dispatchEvent(new Event("shown"));
  if (built.has(name)) return;
  built.add(name);
  const panel = find(`panel-${name}`);
  panel.querySelector(".error")?.remove();
  panel.setAttribute("aria-busy", "true");
  try {
    const { build } = await import(`./tabs/${name}.js`);
    await build(panel);
  } catch (error) {
    built.delete(name); // the tab can be chosen again
    const message = error instanceof Error ? error.message : String(error);
    panel.append(make("p", { class: "error", role: "alert" }, `${say("failed")} ${message}`));
    console.error(error);
  }
  panel.removeAttribute("aria-busy");
}

for (const name of TABS) {
  const [id, controls] = [`tab-${name}`, `panel-${name}`];
  const onclick = () => show(name);
  find("tabs").append(
    make("button", { type: "button", role: "tab", id, "aria-controls": controls, text: `tab ${name}`, onclick }),
  );
  const title = make("h2", { text: `tab ${name}` });
  const lead = make("p", { class: "lead", text: `lead ${name}` });
  find("panels").append(
    make("section", { role: "tabpanel", id: controls, "aria-labelledby": id, hidden: true }, title, lead),
  );
}

find("tabs").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const at = TABS.findIndex((name) => find(`tab-${name}`) === document.activeElement);
  if (!step || at < 0) return;
  const next = TABS[(at + step + TABS.length) % TABS.length];
  find(`tab-${next}`).focus();
  show(next);
});

find("language").addEventListener("click", () => {
  const next = current() === "en" ? "zh" : "en";
  keep("language", next);
  translate(next);
});

/** @param {string} language */
function translate(language) {
  speak(language);
  const button = find("language");
  [button.textContent, button.lang] = current() === "en" ? ["中文", "zh"] : ["English", "en"];
}

const dark = matchMedia("(prefers-color-scheme: dark)");
/** @param {string} theme */
const paint = (theme) => {
  document.documentElement.dataset.theme = theme;
  document.dispatchEvent(new Event("theme"));
};
find("theme").addEventListener("click", () => {
  const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  keep("theme", next);
  paint(next);
});
dark.addEventListener("change", () => paint(recall("theme", dark.matches ? "dark" : "light")));

find("notice").remove();
paint(recall("theme", dark.matches ? "dark" : "light"));
labelled(document.body);
translate(recall("language", navigator.language.startsWith("zh") ? "zh" : "en"));
show(TABS.includes(recall("tab", "")) ? recall("tab", "") : TABS[0]);
