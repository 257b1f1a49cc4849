// @ts-check
/** Charts of lines on canvases. */

/**
 * @typedef {object} Line
 * @property {Array<[number, number]>} points x and y
 * @property {string} colour a colour, or the name of a style's variable such as `--accent`
 * @property {number[]} [dash]
 * @property {number} [width] in pixels
 * @property {number} [alpha] opacity
 */

/**
 * Draw lines with their axes.
 * @param {HTMLCanvasElement} canvas
 * @param {Line[]} lines
 * @param {{x: [number, number], y: [number, number], xName: string, written?: (y: number) => string}} axes
 */
export function drawLines(canvas, lines, { x, y, xName, written = String }) {
  const ratio = window.devicePixelRatio || 1;
  const { width, height } = canvas.getBoundingClientRect();
  if (!width) return; // not shown
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.scale(ratio, ratio);
  const style = getComputedStyle(canvas);
  const colour = (/** @type {string} */ name) => (name.startsWith("--") ? style.getPropertyValue(name) : name);
  const [left, right, top, bottom] = [46, width - 10, 8, height - 34];
  const toX = (/** @type {number} */ value) => left + ((value - x[0]) / (x[1] - x[0] || 1)) * (right - left);
  const toY = (/** @type {number} */ value) => bottom - ((value - y[0]) / (y[1] - y[0] || 1)) * (bottom - top);

  context.font = "12px system-ui, sans-serif";
  context.fillStyle = colour("--quiet");
  context.strokeStyle = colour("--line");
  context.lineWidth = 1;
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const tick of ticks(y)) {
    context.beginPath();
    context.moveTo(left, toY(tick));
    context.lineTo(right, toY(tick));
    context.stroke();
    context.fillText(written(tick), left - 6, toY(tick));
  }
  context.textAlign = "center";
  context.textBaseline = "top";
  for (const tick of ticks(x)) context.fillText(String(tick), toX(tick), bottom + 5);
  context.fillText(xName, (left + right) / 2, bottom + 19);

  context.save();
  context.beginPath();
  context.rect(left, top - 3, right - left, bottom - top + 6);
  context.clip();
  for (const { points, colour: name, dash = [], width: thickness = 2, alpha = 1 } of lines) {
    context.strokeStyle = colour(name);
    context.globalAlpha = alpha;
    context.lineWidth = thickness;
    context.setLineDash(dash);
    context.beginPath();
    points.forEach(([px, py], i) => (i ? context.lineTo(toX(px), toY(py)) : context.moveTo(toX(px), toY(py))));
    context.stroke();
  }
  context.restore();
}

/**
 * Round numbers over a range, about five of them.
 * @param {[number, number]} range
 */
function ticks([low, high]) {
  const rough = (high - low) / 5 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough) ?? rough;
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high + step / 1e6; i++) found.push(Number((i * step).toPrecision(6)));
  return found;
}

/**
 * Draw histograms as rows of cells: the darker a cell, the more numbers are in its bin.
 * @param {HTMLCanvasElement} canvas
 * @param {number[][]} rows shares of each bin
 * @param {string} colour the name of a style's variable
 */
export function drawHistograms(canvas, rows, colour) {
  canvas.width = rows[0]?.length ?? 1;
  canvas.height = rows.length || 1;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.fillStyle = getComputedStyle(canvas).getPropertyValue(colour);
  rows.forEach((row, y) => {
    const largest = Math.max(...row) || 1;
    row.forEach((share, x) => {
      context.globalAlpha = Math.sqrt(share / largest);
      context.fillRect(x, y, 1, 1);
    });
  });
}
