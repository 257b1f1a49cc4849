/** Usage: node node.mjs FIXTURES PAGE ENGINE float32|float64 NAME=STEPS… Prints the errors of each experiment as JSON. */

import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { replay } from "./replay.js";

const [fixtures, page, engine, dtype, ...plans] = process.argv.slice(2);
const module = await WebAssembly.compile(await readFile(engine));
const found = {};
const read = async (file) => {
  const bytes = await readFile(`${fixtures}/${file}`);
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
};
for (const plan of plans) {
  const [name, steps] = plan.split("=");
  const address = pathToFileURL(page).href;
  found[name] = await replay(name, read, address, module, dtype === "float64", Number(steps));
}
console.log(JSON.stringify(found));
