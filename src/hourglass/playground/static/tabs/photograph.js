// @ts-check
/** Denoise a photograph, compare before and after, and save it. */

import { make, slider } from "../app/dom.js";
import { onLanguage, say } from "../app/language.js";
import { normal } from "../app/random.js";

const MOST_PIXELS = 16e6;
const EXAMPLE_LEVEL = 0.1; // of the noise that the example gets

/** @param {HTMLElement} panel */
export function build(panel) {
  const worker = new Worker(new URL("../workers/photograph.js", import.meta.url), { type: "module" });
  /** @type {{name: string, pixels: Uint8ClampedArray, size: [number, number], alpha: Uint8ClampedArray} | null} */
  let photograph = null;
  let opened = 0; // photographs that were opened
  let number = 0; // of the last order
  let restored = 0; // photographs that were shown
  let isBusy = false; // whether the worker has an order
  /** @type {number | null | undefined} the level of an order that waits for the worker */
  let waiting;
  /** @type {{key: string, values: Record<string, string | number>}} */
  let message = { key: "no photograph", values: {} };

  const before = make("canvas", { role: "img", label: "before" });
  const after = make("canvas", { role: "img", label: "after" });
  const compared = make("div", { class: "compared", hidden: true }, after, before);
  const status = make("p", { "aria-live": "polite" });
  const file = make("input", { type: "file", accept: "image/*", class: "visually-hidden", id: "photograph-file" });
  const save = make("button", { type: "button", text: "save", onclick: download });
  const divider = slider({
    text: "divider",
    min: 0,
    max: 1,
    step: 0.005,
    value: 0.5,
    show: (value) => `${Math.round(100 * value)}%`,
    change: divide,
  });
  const level = slider({
    text: "level of photograph",
    min: 0,
    max: 0.4,
    step: 0.005,
    value: 0,
    show: (value) => `${value.toFixed(3)} (${(255 * value).toFixed(0)}/255)`,
    change: (value) => order(value),
  });
  const controls = make("div", { class: "row", hidden: true }, divider.element, level.element, save);

  /** @param {string} key @param {Record<string, string | number>} [values] */
  function tell(key, values = {}) {
    message = { key, values };
    status.textContent = say(key, values);
  }
  onLanguage(() => tell(message.key, message.values));

  /**
   * @param {Blob} blob
   * @param {string} name
   * @param {number} mine the number of this opening; a later one takes its place
   * @param {boolean} [isExample] the example gets noise, from a seed
   */
  async function open(blob, name, mine, isExample = false) {
    number++; // orders of the photograph before are not waited for
    waiting = undefined;
    tell("reading", { name });
    let bitmap;
    try {
      bitmap = await createImageBitmap(blob);
    } catch {
      if (mine === opened) tell("no image", { name });
      return;
    }
    if (mine !== opened) return; // another was opened meanwhile
    const { width, height } = bitmap;
    if (width * height > MOST_PIXELS)
      return tell("too large", { name, megapixels: Math.round((width * height) / 1e6), most: MOST_PIXELS / 1e6 });
    before.width = after.width = width;
    before.height = after.height = height;
    const context = contextOf(before);
    context.drawImage(bitmap, 0, 0);
    const image = context.getImageData(0, 0, width, height);
    const pixels = new Uint8ClampedArray(width * height * 3);
    const alpha = new Uint8ClampedArray(width * height);
    const next = normal(1);
    for (let i = 0; i < width * height; i++) {
      alpha[i] = image.data[4 * i + 3];
      for (let c = 0; c < 3; c++) {
        if (isExample) image.data[4 * i + c] += 255 * EXAMPLE_LEVEL * next();
        pixels[3 * i + c] = image.data[4 * i + c];
      }
    }
    if (isExample) context.putImageData(image, 0, 0);
    photograph = { name, pixels, size: [height, width], alpha };
    contextOf(after).drawImage(before, 0, 0);
    compared.hidden = false;
    divide(Number(divider.input.value));
    order(null);
  }

  /** Have the photograph denoised. @param {number | null} strength the level; null to find it */
  function order(strength) {
    if (!photograph) return;
    save.disabled = true;
    number++;
    if (isBusy) return void (waiting = strength);
    isBusy = true;
    tell("working", { percent: 0 });
    worker.postMessage({ number, pixels: photograph.pixels, size: photograph.size, level: strength });
  }

  /** Give the worker, which is done, the last order that came meanwhile. */
  function next() {
    isBusy = false;
    if (waiting === undefined) return;
    const level = waiting;
    waiting = undefined;
    number--; // the order has its number already
    order(level);
  }

  worker.onmessage = ({ data }) => {
    if (data.type !== "progress") next();
    if (data.number !== number || !photograph) return; // of an order that a newer one replaced
    if (data.type === "progress") return tell("working", { percent: Math.round(100 * data.done) });
    if (data.type === "failed") return tell("photograph failed", { message: data.message });
    const [height, width] = photograph.size;
    const image = new ImageData(width, height);
    for (let i = 0; i < width * height; i++) {
      for (let c = 0; c < 3; c++) image.data[4 * i + c] = data.pixels[3 * i + c];
      image.data[4 * i + 3] = photograph.alpha[i];
    }
    contextOf(after).putImageData(image, 0, 0);
    level.set(data.level);
    controls.hidden = false;
    save.disabled = false;
    tell("restored", { seconds: data.seconds.toFixed(1), level: data.level.toFixed(3), width, height });
    panel.dataset.restored = String(++restored);
    panel.dataset.seconds = String(data.seconds);
  };
  worker.onerror = (event) => {
    tell("photograph failed", { message: event.message || event.type });
    next();
  };

  /** Show the photograph as it was on the left of a line. @param {number} part of the width */
  function divide(part) {
    before.style.clipPath = `inset(0 ${100 * (1 - part)}% 0 0)`;
  }

  /** Save the denoised photograph as PNG. */
  function download() {
    after.toBlob((blob) => {
      if (!blob || !photograph) return;
      const link = make("a", {
        href: URL.createObjectURL(blob),
        download: `${photograph.name.replace(/\.[^.]*$/, "")}-denoised.png`,
      });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    });
  }

  /** @param {File | undefined} chosen */
  const take = (chosen) => chosen && open(chosen, chosen.name, ++opened);
  file.addEventListener("change", () => {
    take(file.files?.[0]);
    file.value = ""; // the same file can be chosen again
  });
  const example = async () => {
    const name = "example.jpg";
    const mine = ++opened;
    try {
      const response = await fetch(new URL(`../data/${name}`, import.meta.url));
      if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
      const blob = await response.blob();
      if (mine === opened) await open(blob, name, mine, true);
    } catch (error) {
      tell("photograph failed", { message: error instanceof Error ? error.message : String(error) });
    }
  };
  // Beside the field, a dropped photograph would take the place of the page.
  for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => event.preventDefault());
  const zone = make(
    "div",
    {
      class: "drop card",
      ondragover: (/** @type {DragEvent} */ event) => event.preventDefault(),
      ondrop: (/** @type {DragEvent} */ event) => {
        event.preventDefault();
        take(event.dataTransfer?.files[0]);
      },
    },
    make("label", { for: "photograph-file", class: "button main", text: "choose photograph" }),
    file,
    make("button", { type: "button", text: "example", onclick: example }),
    make("span", { text: "drop" }),
  );
  panel.append(zone, status, controls, compared, make("p", { class: "lead", text: "photograph explained" }));
  tell("no photograph");
}

/** @param {HTMLCanvasElement} canvas */
const contextOf = (canvas) => /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
