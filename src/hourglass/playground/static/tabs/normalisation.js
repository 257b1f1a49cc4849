// @ts-check
/** Networks that differ in their normalisation alone, trained side by side. */

import { BINS } from "../app/training.js";
import { recordedRuns } from "../app/data.js";
import { drawHistograms, drawLines } from "../app/chart.js";
import { choice, make } from "../app/dom.js";
import { onLanguage, say } from "../app/language.js";
import { keep, recall } from "../app/state.js";
import { settingsOf } from "./settings.js";
/** @typedef {import("../engine/networks.js").Norm} Norm */
/** @typedef {import("../app/chart.js").Line} Line */

/** @type {Array<{norm: Norm, colour: string, dash: number[]}>} colours and dashes as in the package's figures */
const ARMS = [
  { norm: "none", colour: "--norm-none", dash: [2, 3] },
  { norm: "batch", colour: "--norm-batch", dash: [] },
  { norm: "batch-manual", colour: "--norm-manual", dash: [7, 4] },
];
const SMOOTHED = 10; // steps over which the loss of the batches is averaged

/** @param {HTMLElement} panel */
export async function build(panel) {
  const recorded = await recordedRuns();
  const arms = ARMS.map((arm) => ({ ...arm, ...networkOf(arm.norm, draw, failed) }));
  let isMixed = false; // whether the learning rate was changed on the way
  const settings = settingsOf(restart, (learningRate) => {
    isMixed ||= arms.some(({ state }) => state.step > 0);
    for (const { worker } of arms) worker.postMessage({ type: "learningRate", value: learningRate });
    draw();
  });
  const error = make("p", { class: "error", role: "alert" });
  const status = make("p", { "aria-live": "off", class: "status" });
  const run = make("button", { type: "button", class: "main", text: "run", onclick: toggle });
  const oneStep = make("button", { type: "button", text: "one step", onclick: () => advance(1) });
  const controls = [
    run,
    oneStep,
    make("button", { type: "button", text: "again", onclick: restart }),
    make("button", { type: "button", text: "one by one", onclick: oneByOne }),
  ];
  const accuracy = make("canvas", { class: "chart", role: "img", label: "accuracy chart" });
  const loss = make("canvas", { class: "chart", role: "img", label: "loss chart" });
  const mode = choice({
    text: "mode",
    choices: [
      ["inference", "inference mode"],
      ["batch", "training mode"],
    ],
    value: recall("mode", "inference") === "batch" ? "batch" : "inference",
    change: (value) => {
      keep("mode", value);
      draw();
    },
  });
  const histograms = arms.map(() => ({
    numbers: make("canvas", { class: "pixels histogram", role: "img", label: "histogram numbers" }),
    gradients: make("canvas", { class: "pixels histogram", role: "img", label: "histogram gradients" }),
  }));
  const answers = make("div", { "aria-live": "polite" });

  /** Start all networks anew, with the present settings. */
  function restart() {
    error.textContent = "";
    isMixed = false;
    for (const arm of arms) arm.start({ ...settings.values(), norm: arm.norm });
    draw();
  }
  /** @param {number} steps */
  function advance(steps) {
    settings.flush();
    const target = Math.min(...arms.map(({ state }) => state.step)) + steps;
    for (const { worker, state } of arms)
      if (state.step < target) worker.postMessage({ type: "run", until: target });
  }
  /** Run until the end of the preset, or pause. */
  function toggle() {
    settings.flush();
    const isRunning = arms.some(({ state }) => state.running);
    if (isRunning) arms.forEach(({ worker }) => worker.postMessage({ type: "pause" }));
    else {
      const done = Math.max(...arms.map(({ state }) => state.step));
      const until = settings.steps() * (Math.floor(done / settings.steps()) + 1);
      for (const { worker } of arms) worker.postMessage({ type: "run", until });
    }
  }
  /** Classify test images alone and together. */
  function oneByOne() {
    settings.flush();
    for (const { state } of arms) state.answer = null;
    draw();
    for (const { worker } of arms) worker.postMessage({ type: "oneByOne" });
  }
  /** @param {string} message */
  function failed(message) {
    error.textContent = `${say("failed training")} ${message}`;
  }

  let isDue = false;
  /** Draw in the next frame, once for all reports until then. */
  function draw() {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      drawNow();
    });
  }

  /** Draw everything from what the workers have reported. */
  function drawNow() {
    const isRunning = arms.some(({ state }) => state.running);
    run.textContent = say(isRunning ? "pause" : "run");
    oneStep.disabled = isRunning;
    const last = Math.max(settings.steps(), ...arms.map(({ state }) => state.step));
    const x = /** @type {[number, number]} */ ([0, last]);
    const shown = mode.select.value === "batch" ? "batch" : "inference";
    /** @type {Line[]} */
    const curves = [];
    if (settings.isRecorded() && !isMixed)
      for (const { norm, colour } of ARMS)
        for (const run of recorded.arms[norm][shown])
          curves.push({ points: recorded.steps.map((step, i) => [step, run[i]]), colour, width: 1, alpha: 0.18 });
    for (const { state, colour, dash } of arms)
      curves.push({ points: state.scores.map((each) => [each.step, each[shown].accuracy]), colour, dash, width: 3 });
    const percent = (/** @type {number} */ value) => `${Math.round(100 * value)}%`;
    drawLines(accuracy, curves, { x, y: [0, 1], xName: say("step"), written: percent });
    /** @type {Line[]} */
    const losses = [];
    for (const { state, colour, dash } of arms) {
      losses.push({ points: smooth(state.steps), colour, width: 1, alpha: 0.6 });
      losses.push({ points: state.scores.map((each) => [each.step, each[shown].loss]), colour, dash, width: 3 });
    }
    const finite = losses.flatMap(({ points }) => points.map(([, value]) => value)).filter(Number.isFinite);
    const top = Math.min(1, Math.max(0.4, ...finite));
    drawLines(loss, losses, { x, y: [0, top], xName: say("step"), written: (value) => value.toFixed(1) });
    arms.forEach(({ state, colour }, i) => {
      drawHistograms(histograms[i].numbers, state.histograms.map(({ numbers }) => numbers), colour);
      drawHistograms(histograms[i].gradients, state.histograms.map(({ gradients }) => gradients), colour);
    });
    status.replaceChildren(...arms.map(describe));
    panel.dataset.steps = String(Math.min(...arms.map(({ state }) => state.step)));
    answers.replaceChildren(...arms.filter(({ state }) => state.answer).map(answer));
  }

  /** @param {{norm: Norm, colour: string, state: State}} arm */
  function describe({ norm, colour, state }) {
    const mark = make("span", { class: "mark" });
    mark.style.background = `var(${colour})`;
    const score = state.scores.at(-1);
    const speed = state.spent ? Math.round((state.step * settings.values().batchSize * 1000) / state.spent) : 0;
    const percent = (/** @type {number} */ value) => `${Math.round(100 * value)}%`;
    const parts = [say("status", { name: say(`norm ${norm}`), step: state.step, speed })];
    if (score) {
      const [inference, batch] = [percent(score.inference.accuracy), percent(score.batch.accuracy)];
      parts.push(say("accuracies", { scored: score.step, inference, batch }));
    }
    const loss = state.steps.at(-1)?.loss;
    if (loss !== undefined && !Number.isFinite(loss)) parts.push(say("diverged"));
    return make("span", { class: "arm" }, mark, ` ${parts.join(" ")}`);
  }

  /** @param {{norm: Norm, state: State}} arm */
  function answer({ norm, state: { answer } }) {
    const { inference, batch } = answer;
    const values = { name: say(`norm ${norm}`), together: inference.together, same: inference.same };
    return make("p", {}, say("answer", { ...values, batch: batch.together, alone: batch.alone }));
  }

  const [low, high] = [BINS.first, BINS.last].map((power) => make("span", {}, "10", make("sup", {}, minus(power))));
  panel.append(
    settings.presets,
    settings.element,
    make("div", { class: "row tight" }, ...controls),
    error,
    status,
    answers,
    mode.element,
    make(
      "div",
      { class: "row charts" },
      make("figure", {}, make("figcaption", { text: "accuracy of" }), accuracy),
      make("figure", {}, make("figcaption", { text: "loss of" }), loss),
    ),
    make("p", { class: "lead", text: "recorded explained" }),
    make("p", { class: "lead", text: "manual explained" }),
    make("h3", { text: "layer by layer" }),
    make("p", { class: "lead", text: "layers explained" }),
    make(
      "div",
      { class: "row charts" },
      ...ARMS.map(({ norm }, i) =>
        make(
          "figure",
          {},
          make("h3", { text: `norm ${norm}` }),
          make("figcaption", { text: "numbers" }),
          histograms[i].numbers,
          make("figcaption", { text: "gradients" }),
          histograms[i].gradients,
          make("div", { class: "ends" }, low.cloneNode(true), high.cloneNode(true)),
        ),
      ),
    ),
  );
  onLanguage(draw);
  for (const event of ["theme", "shown"]) document.addEventListener(event, draw);
  window.addEventListener("resize", draw);
  restart();
}

/**
 * What a worker has reported.
 * @typedef {object} State
 * @property {number} step
 * @property {boolean} running
 * @property {number} spent milliseconds of computing
 * @property {Array<{step: number, loss: number}>} steps
 * @property {Array<{step: number, inference: import("../app/training.js").Score, batch: import("../app/training.js").Score}>} scores
 * @property {ReturnType<import("../app/training.js").Training["histograms"]>} histograms
 * @property {any} answer how it classified images alone and together; null before it has
 */

/**
 * A network in a worker of its own.
 * @param {Norm} norm
 * @param {() => void} draw called after each report
 * @param {(message: string) => void} failed
 */
function networkOf(norm, draw, failed) {
  const worker = new Worker(new URL("../workers/training.js", import.meta.url), { type: "module", name: norm });
  /** @type {State} */
  const state = { step: 0, running: false, spent: 0, steps: [], scores: [], histograms: [], answer: null };
  let run = 0; // reports of runs before the last start are not for this one
  worker.onmessage = ({ data }) => {
    if (data.run !== run) return;
    if (data.type === "failed") {
      state.running = false;
      failed(data.message);
      return draw();
    }
    if (data.type === "oneByOne") state.answer = data;
    else {
      const { step, running, spent, histograms } = data;
      Object.assign(state, { step, running, spent });
      if (histograms.length) state.histograms = histograms;
      state.steps.push(...data.steps);
      state.scores.push(...data.scores);
    }
    draw();
  };
  worker.onerror = (event) => {
    state.running = false;
    failed(event.message || String(event.type));
    draw();
  };
  /** @param {import("../app/training.js").Settings} settings */
  const start = (settings) => {
    Object.assign(state, { step: 0, running: false, spent: 0, steps: [], scores: [], histograms: [], answer: null });
    worker.postMessage({ type: "start", settings, run: ++run });
  };
  return { worker, state, start };
}

/** @param {number} value */
const minus = (value) => String(value).replace("-", "−");

/**
 * The mean loss of the last steps, at each step.
 * @param {Array<{step: number, loss: number}>} steps
 * @returns {Array<[number, number]>}
 */
function smooth(steps) {
  let sum = 0;
  return steps.map(({ step, loss }, i) => {
    sum += loss - (i >= SMOOTHED ? steps[i - SMOOTHED].loss : 0);
    return [step, sum / Math.min(i + 1, SMOOTHED)];
  });
}
