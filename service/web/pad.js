// The drawing pad: strokes of mouse, pen, finger or keyboard, or a picture in their place; light ink on black, as sent.
// Fires "change"; its `detail.final` is false while a stroke goes on.

import { greyPng } from "./png.js";

const SIDE = 560; // the canvas, in pixels; strokes are kept in these
const SENT = 112; // what is sent: enough for any pen, and a small file
const STEP = 14; // of the keyboard's pen
const SHARP = 0.6; // cosine of the least turn that is a corner, 53 degrees
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Pad extends EventTarget {
  penWidth = 40;
  #canvas;
  #strokes = [];
  #picture = null;
  #stroke = null; // the one being drawn
  #pointer = null; // the one that draws it; other fingers and the palm beside a pen do not
  #cursor = null; // of the keyboard's pen
  #frame = null;

  constructor(canvas) {
    super();
    this.#canvas = canvas;
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => event.pointerId === this.#pointer && this.#up());
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("blur", () => this.#leave());
    this.#paint();
  }

  get empty() {
    return !this.#picture && !this.#strokes.length;
  }

  undo() {
    this.#stroke = null;
    if (this.#strokes.length) this.#strokes.pop();
    else this.#picture = null;
    this.#changed(true);
  }

  clear() {
    this.#stroke = null;
    this.#strokes = [];
    this.#picture = null;
    this.#changed(true);
  }

  // Show a picture instead of strokes; the next stroke begins anew. Says nothing of a change: its file is what is asked.
  show(picture) {
    this.#strokes = [];
    this.#stroke = null;
    this.#picture = picture;
    this.#paint();
  }

  // The drawing as a PNG file.
  png() {
    const small = new OffscreenCanvas(SENT, SENT);
    const context = small.getContext("2d", { alpha: false, willReadFrequently: true });
    context.scale(SENT / SIDE, SENT / SIDE);
    this.#draw(context);
    return greyPng(context);
  }

  #changed(final) {
    this.#paint();
    this.dispatchEvent(new CustomEvent("change", { detail: { final } }));
  }

  #begin(point) {
    this.#picture = null;
    this.#stroke = { width: this.penWidth, points: [point] };
    this.#strokes.push(this.#stroke);
    this.#changed(false);
  }

  #down(event) {
    if (this.#pointer !== null || event.button !== 0) return;
    if (event.isTrusted) this.#canvas.setPointerCapture(event.pointerId); // it may leave the pad and come back
    this.#pointer = event.pointerId;
    this.#cursor = null;
    this.#begin(this.#point(event));
  }

  #move(event) {
    if (!this.#stroke || event.pointerId !== this.#pointer) return;
    const parts = event.getCoalescedEvents?.() ?? [];
    for (const each of parts.length ? parts : [event]) this.#stroke.points.push(this.#point(each));
    this.#changed(false);
  }

  #up() {
    this.#pointer = null;
    if (!this.#stroke) return;
    this.#stroke = null;
    this.#changed(true);
  }

  #point(event) {
    const box = this.#canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * SIDE) / box.width, ((event.clientY - box.top) * SIDE) / box.height];
  }

  #key(event) {
    const arrow = ARROWS[event.key];
    if (arrow) {
      this.#cursor ??= [SIDE / 2, SIDE / 2];
      this.#cursor = this.#cursor.map((at, axis) => Math.min(Math.max(at + STEP * arrow[axis], 0), SIDE));
      if (this.#stroke) this.#stroke.points.push(this.#cursor);
      if (this.#stroke) this.#changed(false);
      else this.#paint();
    } else if (event.key === " ") {
      this.#cursor ??= [SIDE / 2, SIDE / 2];
      if (this.#stroke) this.#up();
      else this.#begin(this.#cursor);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.clear();
    } else {
      return;
    }
    event.preventDefault();
  }

  #leave() {
    if (!this.#cursor) return; // a stroke of the mouse goes on
    this.#cursor = null;
    this.#up();
    this.#paint();
  }

  // Once a frame, however many events come in one: a long scribble costs its length each time.
  #paint() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null;
      this.#paintNow();
    });
  }

  #paintNow() {
    const context = this.#canvas.getContext("2d", { alpha: false });
    this.#draw(context);
    if (!this.#cursor) return;
    context.beginPath();
    context.arc(...this.#cursor, this.penWidth / 2 + 4, 0, 7);
    context.lineWidth = 4;
    context.strokeStyle = this.#stroke ? "#ffb454" : "#7a8194";
    context.stroke();
  }

  #draw(context) {
    context.fillStyle = "#000";
    context.fillRect(0, 0, SIDE, SIDE);
    if (this.#picture) drawWhole(context, this.#picture);
    context.strokeStyle = "#fff";
    context.lineCap = context.lineJoin = "round";
    for (const { width, points } of this.#strokes) {
      context.lineWidth = width;
      context.beginPath();
      context.moveTo(...points[0]);
      for (let at = 1; at < points.length - 1; at++) turn(context, ...points.slice(at - 1, at + 2));
      context.lineTo(...points.at(-1));
      context.stroke();
    }
  }
}

// On to the middle of the next line: in a curve, since what a hand drew has no corners where the mouse was asked, but
// round a corner that the hand did draw, as a 7 has it, with all of it.
function turn(context, before, here, after) {
  const [x1, y1, x2, y2] = [here[0] - before[0], here[1] - before[1], after[0] - here[0], after[1] - here[1]];
  const sharp = x1 * x2 + y1 * y2 < SHARP * Math.hypot(x1, y1) * Math.hypot(x2, y2);
  if (sharp) context.lineTo(...here);
  if (sharp) context.lineTo(...middle(here, after));
  else context.quadraticCurveTo(...here, ...middle(here, after));
}

const middle = ([x1, y1], [x2, y2]) => [(x1 + x2) / 2, (y1 + y2) / 2];

function drawWhole(context, picture) {
  const scale = SIDE / Math.max(picture.width, picture.height);
  const [width, height] = [picture.width * scale, picture.height * scale];
  context.imageSmoothingEnabled = scale < 4; // MNIST's pixels are shown as pixels
  context.drawImage(picture, (SIDE - width) / 2, (SIDE - height) / 2, width, height);
}
