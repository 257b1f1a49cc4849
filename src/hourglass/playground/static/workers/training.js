// @ts-check
/**
 * A worker that trains one network.
 *
 * It takes messages `{type: "start", settings}`, `{type: "run", until}`, `{type: "pause"}`, `{type: "learningRate",
 * value}` and `{type: "oneByOne"}`, and posts `{type: "steps", …}` with what there is to draw, `{type: "oneByOne", …}`,
 * and `{type: "failed", message}`.
 */

import { digits, engineModule } from "../app/data.js";
import { Training } from "../app/training.js";

const EVALUATE_EVERY = 25; // steps
const REPORT_EVERY = 100; // milliseconds

/** @type {Training | undefined} */
let training;
let until = 0; // the step at which to pause
let running = false;
let number = 0; // of the run, which every report names
/** @type {Array<{step: number, loss: number, accuracy: number}>} steps that were not yet reported */
let steps = [];
/** @type {Array<{step: number, inference: import("../app/training.js").Score, batch: import("../app/training.js").Score}>} */
let scores = [];
let spent = 0; // milliseconds of computing
/** @type {ReturnType<Training["histograms"]>} of the last batch of the training */
let histograms = [];

/** @type {Record<string, (message: any) => void | Promise<void>>} */
const tasks = {
  async start({ settings, run }) {
    stop();
    training = undefined;
    number = run;
    const [module, data] = await Promise.all([engineModule(), digits()]);
    await new Promise((done) => setTimeout(done)); // messages that wait are received here
    if (run < newest) return;
    training = new Training(module, data, settings);
    [steps, scores, spent, histograms] = [[], [], 0, []];
    evaluate();
    report();
  },
  run(message) {
    until = message.until;
    if (running || !training) return;
    running = true;
    go();
  },
  pause() {
    if (!running) return;
    stop();
    evaluateOnce();
    report();
  },
  learningRate({ value }) {
    if (training) training.optimiser.learningRate = value;
  },
  oneByOne() {
    if (!training) return;
    postMessage({ type: "oneByOne", run: number, inference: training.oneByOne("inference"), batch: training.oneByOne("batch") });
  },
};

// One message after the other: what comes while a network is being made waits for it.
let last = Promise.resolve();
let newest = 0; // the number of the newest start that has come
self.onmessage = ({ data }) => {
  if (data.type === "start") newest = data.run;
  last = last
    .then(() => tasks[data.type](data))
    .catch(fail);
};

/** @param {unknown} error */
function fail(error) {
  stop();
  postMessage({ type: "failed", run: number, message: error instanceof Error ? error.message : String(error) });
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;
/** Stop training. */
function stop() {
  running = false;
  clearTimeout(timer);
}

let evaluated = -1; // the step of the last score
/** Score test images in both modes. */
function evaluate() {
  if (!training) return;
  evaluated = training.steps;
  const [inference, batch] = [training.evaluate("inference"), training.evaluate("batch")];
  scores.push({ step: evaluated, inference, batch });
}

/** Score test images, unless that was done after the last step. */
function evaluateOnce() {
  if (training && evaluated !== training.steps) evaluate();
}

/** Train for a while, report, and let messages in. */
function go() {
  if (!running || !training) return report();
  const start = performance.now();
  while (training.steps < until) {
    const score = training.step();
    steps.push({ step: training.steps, ...score });
    const due = training.steps % EVALUATE_EVERY === 0;
    const last = training.steps >= until || performance.now() - start >= REPORT_EVERY;
    if (last) histograms = training.histograms(); // before the test images take the place of the batch
    if (due) evaluate();
    if (last) break;
  }
  if (training.steps >= until) {
    running = false;
    evaluateOnce();
  }
  spent += performance.now() - start;
  report();
  if (!running) return;
  timer = setTimeout(() => {
    try {
      go();
    } catch (error) {
      fail(error);
    }
  });
}

/** Post what is new. */
function report() {
  if (!training) return;
  postMessage({ type: "steps", run: number, step: training.steps, running, spent, steps, scores, histograms });
  [steps, scores] = [[], []];
}
