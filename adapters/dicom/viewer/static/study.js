// One study: the series strip, the stack of images, the tools.
import { date, Failed, json, person, ROOT, text, value } from "./dicomweb.js";
import { directions, fullWindow, imagesOf } from "./images.js";
import { Loader } from "./loader.js";
import { Stage } from "./stage.js";
import { element, say, word } from "./words.js";

const PRESETS = [["soft", 40, 400], ["lung", -600, 1500], ["bone", 480, 2500], ["brain", 40, 80], ["abdomen", 60, 400]];
const LATERALITY = { L: "left", R: "right", B: "both", U: "unpaired" };

export async function show(main, uids, wanted) {
  main.replaceChildren(element("p", { className: "note", role: "status" }, word("loading")));
  try {
    const found = await Promise.all(uids.map((uid) => json(`/studies/${uid}/series?includefield=all`)));
    const series = found.flat().sort((one, other) => Number(value(one, "00200011") ?? 0) - Number(value(other, "00200011") ?? 0));
    if (!series.length) throw new Failed(word("noSeries"));
    new Study(main, series, wanted);
  } catch (error) {
    main.replaceChildren();
    say(error instanceof Failed ? error.message : String(error));
  }
}

class Study {
  constructor(main, series, wanted) {
    this.stage = new Stage({ step: (by) => this.step(by), window: (window) => this.windowed(window), windowing: (window) => this.label(window) });
    this.slider = element("input", { type: "range", min: 1, max: 1, value: 1, "aria-label": word("image"), oninput: () => this.go(Number(this.slider.value) - 1) });
    this.count = element("output");
    this.strip = element("nav", { className: "strip", "aria-label": word("series") }, ...series.map((one) => this.entry(one)));
    this.images = [];
    this.place = 0;
    this.tools = this.toolbar();
    main.replaceChildren(element("div", { className: "study-view" }, this.strip, this.tools, this.stage.node, element("div", { className: "slide" }, this.slider, this.count)));
    document.addEventListener("keydown", (event) => this.key(event));
    this.who(series[0]);
    const first = series.findIndex((one) => text(one, "0020000E") === wanted);
    this.open(series[Math.max(first, 0)], this.strip.children[Math.max(first, 0)]);
  }

  who(series) {
    const part = (label, content) => (content ? element("span", {}, label ? `${label} ` : "", element("b", {}, content)) : null);
    const name = person(series, "00100010");
    document.title = word("studies");
    document.getElementById("who").replaceChildren(...[
      part("", name), part(word("id"), text(series, "00100020")), part(word("birth"), date(text(series, "00100030"))),
      part(word("sex"), text(series, "00100040")), part(word("date"), date(text(series, "00080020"))), part("", text(series, "00081030")),
    ].filter(Boolean));
  }

  entry(series) {
    const uid = text(series, "0020000E");
    const picture = element("span", { className: "picture" });
    const image = element("img", { loading: "lazy", alt: "", src: `${ROOT}/studies/${text(series, "0020000D")}/series/${uid}/thumbnail` });
    image.addEventListener("error", () => picture.replaceChildren(text(series, "00080060") || word("noPicture")));
    picture.append(image);
    const button = element(
      "button", { type: "button" }, picture,
      element("small", {}, `${text(series, "00200011")} ${text(series, "00080060")} · ${text(series, "00201209")} ${word("instanceCount")}`),
      element("small", {}, text(series, "0008103E")),
    );
    button.addEventListener("click", () => this.open(series, button));
    return button;
  }

  toolbar() {
    const button = (label, action, shortcut) => element("button", { type: "button", title: shortcut ?? "", onclick: action }, label);
    const tools = ["window", "pan", "zoom"].map((name) => {
      const made = button(word(name), () => {
        this.stage.tool = name;
        tools.forEach((one) => one.setAttribute("aria-pressed", String(one === made)));
      });
      made.setAttribute("aria-pressed", String(name === "window"));
      return made;
    });
    this.presets = element("select", { "aria-label": word("preset"), onchange: () => this.preset(this.presets.value) });
    this.cine = button(word("play"), () => this.play(), "Space");
    return element(
      "div", { className: "tools", role: "toolbar" }, ...tools, this.presets, button(word("invert"), () => this.stage.invert(), "I"),
      button("−", () => this.stage.zoomBy(1 / 1.25), "-"), button("+", () => this.stage.zoomBy(1.25), "+"), button(word("reset"), () => this.reset(), "R"), this.cine,
    );
  }

  async open(series, button) {
    this.play(false);
    this.loader?.close();
    for (const one of this.strip.children) one.setAttribute("aria-current", String(one === button));
    say("");
    this.stage.image = null;
    this.stage.busy.hidden = false;
    const asked = (this.asked = Symbol("series"));
    try {
      const metadata = await json(`/studies/${text(series, "0020000D")}/series/${text(series, "0020000E")}/metadata`);
      if (asked !== this.asked) return;
      this.images = imagesOf(metadata);
      if (!this.images.length) throw new Failed(`${word("notShown")} (${text(series, "00080060")})`);
      this.loader = new Loader(this.images);
      this.slider.max = this.images.length;
      this.stage.reset();
      this.offer();
      this.go(0);
    } catch (error) {
      this.stage.busy.hidden = true;
      this.images = [];
      say(error instanceof Failed ? error.message : String(error));
    }
  }

  offer() {
    const own = this.images[0].windows.map((window, at) => [`own${at}`, `${word("original")} ${window.center} / ${window.width}`]);
    const more = this.images[0].modality === "CT" ? PRESETS.map(([name]) => [name, word(name)]) : [];
    const all = [...(own.length ? own : [["own0", word("original")]]), ...more, ["full", word("full")]];
    this.presets.replaceChildren(...all.map(([name, label]) => element("option", { value: name }, label)));
    this.presets.disabled = !this.images[0].grey;
  }

  preset(name) {
    const found = PRESETS.find(([preset]) => preset === name);
    const range = this.stage.loaded?.samples?.range;
    if (found) this.stage.setWindow({ center: found[1], width: found[2] });
    else if (name === "full" && range) this.stage.setWindow(fullWindow(range));
    else this.stage.setWindow(name === "own0" ? null : this.images[this.place]?.windows[Number(name.slice(3))] ?? null);
  }

  reset() {
    this.presets.selectedIndex = 0;
    this.stage.reset();
  }

  step(by) {
    this.go(Math.min(Math.max(this.place + by, 0), this.images.length - 1));
  }

  async go(place) {
    const image = this.images[place];
    if (!image) return;
    this.place = place;
    this.slider.value = place + 1;
    this.count.textContent = `${place + 1} / ${this.images.length}`;
    const { loader } = this;
    if (!loader.have(image, this.stage.window)) this.stage.busy.hidden = false;
    try {
      const loaded = await loader.get(image, this.stage.window);
      if (loader !== this.loader || place !== this.place) return;
      say("");
      this.stage.show(image, loaded);
      this.label();
      loader.ahead(place, this.stage.window);
    } catch (error) {
      if (error.name === "AbortError" || loader !== this.loader) return;
      this.stage.busy.hidden = true;
      this.play(false);
      say(error instanceof Failed ? error.message : String(error));
    }
  }

  windowed() {
    if (this.stage.image && !this.stage.image.native && this.stage.image.grey) this.go(this.place);
    else this.label();
  }

  label(window = this.stage.current()) {
    const { image } = this.stage;
    if (!image) return;
    const { corners } = this.stage;
    const line = (label, content) => (content === "" || content === undefined ? "" : `${label} ${content}\n`);
    const frame = image.frames > 1 ? `${word("frame")} ${image.frame} / ${image.frames}\n` : "";
    corners.sw.textContent = `${line(word("image"), `${this.place + 1} / ${this.images.length}`)}${frame}${line(word("slice"), image.location === "" ? "" : `${image.location} mm`)}${line(word("thickness"), image.thickness === "" ? "" : `${image.thickness} mm`)}`;
    corners.se.textContent = `${window ? `C ${window.center}  W ${window.width}\n` : ""}${image.columns} × ${image.rows}${image.lossy ? `\n${word("lossy")}` : ""}`;
    const [left, right, top, bottom] = directions(image.orientation);
    Object.entries({ left, right, top, bottom }).forEach(([name, letters]) => { corners[name].textContent = letters; });
    corners.laterality.textContent = image.laterality in LATERALITY ? word(LATERALITY[image.laterality]) : image.laterality;
  }

  play(run = !this.timer) {
    clearInterval(this.timer);
    this.timer = null;
    if (run && this.images.length > 1) {
      this.timer = setInterval(() => {
        if (this.stage.busy.hidden) this.go((this.place + 1) % this.images.length);
      }, 1000 / this.images[0].rate);
    }
    this.cine.textContent = word(this.timer ? "stop" : "play");
    this.cine.setAttribute("aria-pressed", String(Boolean(this.timer)));
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    if (event.key === " " && event.target.tagName === "BUTTON") return;
    const actions = {
      ArrowDown: () => this.step(1), ArrowRight: () => this.step(1), ArrowUp: () => this.step(-1), ArrowLeft: () => this.step(-1),
      PageDown: () => this.step(10), PageUp: () => this.step(-10), Home: () => this.go(0), End: () => this.go(this.images.length - 1),
      i: () => this.stage.invert(), r: () => this.reset(), "+": () => this.stage.zoomBy(1.25), "-": () => this.stage.zoomBy(1 / 1.25), " ": () => this.play(),
    };
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }
}
