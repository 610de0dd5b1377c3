// Gets the frames of a series: those in view first, neighbours ahead, and keeps what was used last.
import { picture, samples } from "./dicomweb.js";
import { read } from "./images.js";

const KEPT_BYTES = 384 << 20;
const AHEAD = 6;
const AT_ONCE = 4;

const key = (image, window) => `${image.instance}/${image.frame}/${window ? `${window.center},${window.width}` : ""}`;

function pathOf(image) {
  return `/studies/${image.study}/series/${image.series}/instances/${image.instance}/frames/${image.frame}`;
}

/** What the server draws: with a window only where the image is grey and a window was chosen. */
export function renderedPath(image, window) {
  const wish = image.grey && window ? `?window=${window.center},${window.width},${window.exact || image.exact ? "linear-exact" : "linear"}` : "";
  return `${pathOf(image)}/rendered${wish}`;
}

export class Loader {
  constructor(images) {
    this.images = images;
    this.kept = new Map();
    this.bytes = 0;
    this.running = new Map();
    this.abort = new AbortController();
  }

  close() {
    this.abort.abort();
    this.kept.clear();
  }

  /** What is there of an image: `{samples}` or `{bitmap}`, or nothing yet. */
  have(image, window) {
    const name = key(image, image.native ? null : window);
    const found = this.kept.get(name);
    if (found) {
      this.kept.delete(name);
      this.kept.set(name, found);
    }
    return found;
  }

  get(image, window) {
    const asked = image.native ? null : window;
    const name = key(image, asked);
    const found = this.have(image, window);
    if (found) return Promise.resolve(found);
    if (!this.running.has(name)) this.running.set(name, this.load(image, asked, name).finally(() => this.running.delete(name)));
    return this.running.get(name);
  }

  async load(image, window, name) {
    const { signal } = this.abort;
    let loaded;
    if (image.native) {
      try {
        loaded = { samples: read(image, await samples(pathOf(image), signal)) };
      } catch (error) {
        if (error.name === "AbortError") throw error;
        image.native = false; // what the browser cannot have as samples the server may still draw
      }
    }
    loaded ??= { bitmap: await picture(renderedPath(image, window), signal) };
    const size = image.rows * image.columns * 4;
    this.kept.set(name, loaded);
    this.bytes += size;
    loaded.size = size;
    while (this.bytes > KEPT_BYTES && this.kept.size > 1) {
      const [oldest, gone] = this.kept.entries().next().value;
      this.kept.delete(oldest);
      this.bytes -= gone.size;
      gone.bitmap?.close();
    }
    return loaded;
  }

  /** Get what will be looked at next. */
  ahead(place, window) {
    for (let step = 1; step <= AHEAD && this.running.size < AT_ONCE; step += 1) {
      for (const at of [place + step, place - step]) {
        const image = this.images[at];
        if (image && !this.have(image, window) && this.running.size < AT_ONCE) this.get(image, window).then(() => this.ahead(place, window), () => {});
      }
    }
  }
}
