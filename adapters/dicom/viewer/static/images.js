// The images of a series, from its metadata: what is shown beside them, and how their samples become greys.
import { item, numbers, text, value, values } from "./dicomweb.js";

const MOST_VALUES = 1 << 23; // of a frame that is windowed in the browser

/** The frames of a series in the order in which they are looked at. */
export function imagesOf(metadata) {
  const found = [];
  for (const object of metadata) {
    if (!value(object, "00280010")) continue;
    const frames = Number(value(object, "00280008") ?? 1) || 1;
    for (let frame = 1; frame <= frames; frame += 1) found.push(image(object, frame, frames));
  }
  return found.sort((one, other) => one.number - other.number || one.along - other.along || one.frame - other.frame);
}

function image(object, frame, frames) {
  const shared = item(object, "52009229");
  const own = values(object, "52009230")[frame - 1];
  const group = (sequence) => item(own, sequence) ?? item(shared, sequence) ?? object;
  const transform = group("00289145");
  const look = group("00289132");
  const position = numbers(group("00209113"), "00200032");
  const orientation = numbers(group("00209116"), "00200037");
  const spacing = [numbers(group("00289110"), "00280030"), numbers(object, "00181164"), numbers(object, "00280034")].find((pair) => pair.length === 2) ?? [1, 1];
  const bits = Number(value(object, "00280100") ?? 16);
  const photometric = text(object, "00280004");
  const centers = numbers(look, "00281050");
  const widths = numbers(look, "00281051");
  const rows = Number(value(object, "00280010"));
  const columns = Number(value(object, "00280011"));
  const grey = Number(value(object, "00280002") ?? 1) === 1 && photometric.startsWith("MONOCHROME");
  const tables = [transform["00283000"], look["00283010"]].some((sequence) => sequence?.Value?.length);
  return {
    study: text(object, "0020000D"), series: text(object, "0020000E"), instance: text(object, "00080018"), frame, frames, rows, columns,
    number: Number(value(object, "00200013") ?? 0), along: along(position, orientation), orientation,
    grey, native: grey && !tables && (bits === 8 || bits === 16) && rows * columns <= MOST_VALUES && "00280100" in object,
    bits, stored: Number(value(object, "00280101") ?? bits), signed: Number(value(object, "00280103") ?? 0) === 1,
    inverse: photometric === "MONOCHROME1", slope: numbers(transform, "00281053")[0] || 1, intercept: numbers(transform, "00281052")[0] ?? 0,
    windows: centers.map((center, at) => ({ center, width: Math.max(widths[at] ?? 0, 1) })).filter((_, at) => widths[at] > 0),
    exact: text(look, "00281056").toUpperCase() === "LINEAR_EXACT", padding: value(object, "00280120"),
    aspect: spacing[0] > 0 && spacing[1] > 0 ? spacing[0] / spacing[1] : 1,
    location: place(value(object, "00201041"), position, orientation),
    thickness: value(group("00289110"), "00180050") ?? "",
    laterality: text(group("00209071"), "00209072") || text(object, "00200062") || text(object, "00200060"),
    lossy: text(object, "00282110") === "01", modality: text(object, "00080060"), rate: rate(object),
  };
}

/** The place of a slice along the normal of its plane, in mm. */
function along(position, orientation) {
  if (position.length !== 3 || orientation.length !== 6) return 0;
  const [a, b, c, d, e, f] = orientation;
  return position[0] * (b * f - c * e) + position[1] * (c * d - a * f) + position[2] * (a * e - b * d);
}

function place(location, position, orientation) {
  if (Number.isFinite(Number(location ?? NaN))) return Number(location).toFixed(1);
  return position.length === 3 ? along(position, orientation).toFixed(1) : "";
}

function rate(object) {
  const perSecond = Number(value(object, "00082144") ?? value(object, "00180040") ?? 0);
  const each = Number(value(object, "00181063") ?? 0);
  return Math.min(Math.max(perSecond || (each > 0 ? 1000 / each : 10), 1), 60);
}

/** The letters of patient directions at left, right, top and bottom (PS3.3 C.7.6.1.1.1). */
export function directions(orientation) {
  if (orientation.length !== 6) return ["", "", "", ""];
  const letters = (x, y, z) => [[x, "L", "R"], [y, "P", "A"], [z, "H", "F"]]
    .filter(([part]) => Math.abs(part) > 0.3).sort((one, other) => Math.abs(other[0]) - Math.abs(one[0]))
    .map(([part, plus, minus]) => (part > 0 ? plus : minus)).join("");
  const [a, b, c, d, e, f] = orientation;
  return [letters(-a, -b, -c), letters(a, b, c), letters(-d, -e, -f), letters(d, e, f)];
}

/** The stored samples of a native frame as values without the bits that mean nothing. */
export function read(image, buffer) {
  const count = image.rows * image.columns;
  const raw = image.bits === 8 ? new Uint8Array(buffer, 0, count) : new Uint16Array(buffer, 0, count);
  const unused = 32 - image.stored;
  const kept = new Int32Array(count);
  for (let at = 0; at < count; at += 1) kept[at] = image.signed ? (raw[at] << unused) >> unused : (raw[at] << unused) >>> unused;
  let low = Infinity;
  let high = -Infinity;
  for (let at = 0; at < count; at += 1) {
    const one = kept[at];
    if (one === image.padding) continue;
    if (one < low) low = one;
    if (one > high) high = one;
  }
  const ends = [low, high].map((one) => one * image.slope + image.intercept);
  const range = Number.isFinite(low) ? { low: Math.min(...ends), high: Math.max(...ends) } : { low: 0, high: 1 };
  return { values: kept, first: Number.isFinite(low) ? low : 0, last: Number.isFinite(high) ? high : 0, range };
}

/** The window over all values that are there. */
export function fullWindow(range) {
  return { center: (range.low + range.high) / 2, width: Math.max(range.high - range.low, 1), exact: true };
}

/** Write the greys of a frame (PS3.3 C.11.2.1.2). */
export function paint(image, samples, window, inverted, pixels) {
  const size = samples.last - samples.first + 1;
  const greys = new Uint32Array(size);
  const exact = window.exact ?? image.exact;
  const width = exact ? window.width : Math.max(window.width - 1, 1e-9);
  const center = exact ? window.center : window.center - 0.5;
  const inverse = image.inverse !== inverted;
  for (let at = 0; at < size; at += 1) {
    const shown = (at + samples.first) * image.slope + image.intercept;
    const grey = Math.min(Math.max(Math.round(((shown - center) / width + 0.5) * 255), 0), 255);
    const shade = inverse ? 255 - grey : grey;
    greys[at] = 0xff000000 | (shade << 16) | (shade << 8) | shade;
  }
  const { values, first, last } = samples;
  for (let at = 0; at < values.length; at += 1) {
    const one = values[at];
    pixels[at] = one < first || one > last || one === image.padding ? 0xff000000 : greys[one - first];
  }
}
