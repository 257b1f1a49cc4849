// Checks that KaTeX understands every formula of a built site, because a browser would show it in red or not at all.
// Usage: node tools/check_formulas.js FOLDER

const fs = require("node:fs");
const path = require("node:path");
const katex = require("../docs/_static/katex/katex.min.js");

const FORMULA = /<(div|span) class="math[^"]*"[^>]*>([^<]*)<\/\1>/g;
const CHARACTERS = { "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#x27;": "'", "&#39;": "'", "&nbsp;": " ", "&amp;": "&" };

let checked = 0;
let wrong = 0;
for (const name of fs.readdirSync(process.argv[2], { recursive: true })) {
  if (!name.endsWith(".html")) continue;
  const page = fs.readFileSync(path.join(process.argv[2], name), "utf8");
  for (const [, element, encoded] of page.matchAll(FORMULA)) {
    const latex = encoded.replace(/&[#\w]+;/g, (each) => CHARACTERS[each] ?? each);
    try {
      katex.renderToString(latex, { displayMode: element === "div", throwOnError: true });
    } catch (error) {
      console.error(`${name}: ${error.message}`);
      wrong += 1;
    }
    checked += 1;
  }
}
if (checked === 0) console.error(`${process.argv[2]} has no formula`);
process.exitCode = wrong || checked === 0 ? 1 : 0;
