// The canvas on which an image is drawn, moved, zoomed and windowed.
import { fullWindow, paint } from "./images.js";
import { element, word } from "./words.js";

const REDRAW_ELSEWHERE = 250; // ms after the last movement until the server draws with another window

export class Stage {
  constructor(events) {
    this.events = events; // step(by), window(window), tool changes are told
    this.canvas = element("canvas");
    this.corners = Object.fromEntries(["nw", "ne", "sw", "se", "left", "right", "top", "bottom", "laterality"].map((name) => [name, element("div", { className: `corner ${name}` })]));
    this.busy = element("div", { className: "busy", hidden: true }, word("loading"));
    this.node = element("div", { className: "stage", tabIndex: 0, role: "img", "aria-label": word("stage") }, this.canvas, ...Object.values(this.corners), this.busy);
    this.source = document.createElement("canvas");
    this.tool = "window";
    this.inverted = false;
    this.view = { zoom: 1, x: 0, y: 0 };
    this.window = null;
    this.image = null;
    this.loaded = null;
    this.pointers = new Map();
    new ResizeObserver(() => this.draw()).observe(this.node);
    this.listen();
  }

  reset() {
    this.view = { zoom: 1, x: 0, y: 0 };
    this.inverted = false;
    this.setWindow(null);
  }

  setWindow(window) {
    this.window = window;
    this.events.window(window);
    this.refresh();
  }

  /** The window in force: the chosen one, else the image's own, else all values. */
  current() {
    if (!this.image?.grey) return null;
    return this.window ?? this.image.windows[0] ?? (this.loaded?.samples ? fullWindow(this.loaded.samples.range) : null);
  }

  show(image, loaded) {
    this.image = image;
    this.loaded = loaded;
    this.busy.hidden = true;
    this.refresh();
  }

  refresh() {
    const { image, loaded, source } = this;
    if (!image || !loaded) return;
    source.width = image.columns;
    source.height = image.rows;
    const context = source.getContext("2d");
    if (loaded.samples) {
      const data = context.createImageData(image.columns, image.rows);
      paint(image, loaded.samples, this.current(), this.inverted, new Uint32Array(data.data.buffer));
      context.putImageData(data, 0, 0);
    } else {
      context.filter = this.inverted ? "invert(1)" : "none";
      context.drawImage(loaded.bitmap, 0, 0, image.columns, image.rows);
    }
    this.draw();
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.node;
    if (!this.image || !width || !height) return;
    const scale = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(height * scale);
    const context = this.canvas.getContext("2d");
    const { columns, rows, aspect } = this.image;
    const tall = rows * aspect;
    const fit = Math.min(this.canvas.width / columns, this.canvas.height / tall) * this.view.zoom;
    context.imageSmoothingQuality = "high";
    context.imageSmoothingEnabled = fit < 4;
    context.translate(this.canvas.width / 2 + this.view.x * scale, this.canvas.height / 2 + this.view.y * scale);
    context.scale(fit, fit * aspect);
    context.drawImage(this.source, -columns / 2, -rows / 2);
  }

  zoomBy(factor) {
    this.view.zoom = Math.min(Math.max(this.view.zoom * factor, 0.2), 20);
    this.draw();
  }

  invert() {
    this.inverted = !this.inverted;
    this.refresh();
  }

  windowBy(x, y) {
    const now = this.current();
    if (!now) return;
    const range = this.loaded?.samples?.range;
    const step = range ? Math.max((range.high - range.low) / 512, 0.01) : Math.max(now.width / 256, 0.01);
    const round = (one) => Math.round(one * 100) / 100;
    const changed = { ...now, center: round(now.center + y * step), width: round(Math.max(now.width + x * step, 1)) };
    if (this.loaded?.samples) {
      this.setWindow(changed);
      return;
    }
    this.window = changed;
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.events.window(changed), REDRAW_ELSEWHERE);
    this.events.windowing(changed);
  }

  listen() {
    const { node } = this;
    node.addEventListener("contextmenu", (event) => event.preventDefault());
    node.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (event.ctrlKey) this.zoomBy(event.deltaY < 0 ? 1.1 : 1 / 1.1);
      else this.events.step(Math.sign(event.deltaY));
    }, { passive: false });
    node.addEventListener("pointerdown", (event) => {
      node.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY, walked: 0 });
    });
    node.addEventListener("pointermove", (event) => this.moved(event));
    for (const name of ["pointerup", "pointercancel"]) node.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
    node.addEventListener("dblclick", () => this.reset());
  }

  moved(event) {
    const last = this.pointers.get(event.pointerId);
    if (!last) return;
    const x = event.clientX - last.x;
    const y = event.clientY - last.y;
    const others = [...this.pointers.entries()].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    if (others.length) {
      const far = (px, py) => Math.hypot(px - others[0].x, py - others[0].y) || 1;
      this.zoomBy(far(event.clientX, event.clientY) / far(last.x, last.y));
      this.pan(x / 2, y / 2);
    } else if (event.pointerType === "touch" && this.tool === "window" && Math.abs(y) > Math.abs(x)) {
      last.walked += y;
      const steps = Math.trunc(last.walked / 12);
      if (steps) this.events.step(steps);
      last.walked -= steps * 12;
    } else if (event.buttons & 6 || event.shiftKey || this.tool === "pan") {
      this.pan(x, y);
    } else if (this.tool === "zoom") {
      this.zoomBy(1.01 ** -y);
    } else {
      this.windowBy(x, y);
    }
    last.x = event.clientX;
    last.y = event.clientY;
  }

  pan(x, y) {
    this.view.x += x;
    this.view.y += y;
    this.draw();
  }
}
