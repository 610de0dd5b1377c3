// DICOMweb (PS3.18) and the DICOM JSON model (PS3.18 F), as far as this page needs them.
import { word } from "./words.js";

export const ROOT = new URL("../dicomweb", import.meta.url).pathname;

export class Failed extends Error {}

async function get(path, accept, signal) {
  let response;
  try {
    response = await fetch(ROOT + path, { headers: { Accept: accept }, signal, credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failed(word("unreachable"));
  }
  if (response.ok) return response;
  const text = (response.headers.get("Content-Type") ?? "").startsWith("text/") ? (await response.text()).slice(0, 300) : "";
  throw new Failed(`${word("failed")}: ${response.status} ${text}`);
}

export async function json(path, signal) {
  const response = await get(path, "application/dicom+json", signal);
  return response.status === 204 ? [] : response.json();
}

export const values = (object, tag) => object?.[tag]?.Value ?? [];
export const value = (object, tag) => values(object, tag)[0];
export const text = (object, tag) => String(value(object, tag) ?? "");
export const numbers = (object, tag) => values(object, tag).map(Number).filter(Number.isFinite);
export const item = (object, tag) => values(object, tag)[0];

/** A person name: ideographic first in Japanese, both where there are two. */
export function person(object, tag) {
  const name = value(object, tag);
  if (!name) return "";
  const plain = (group) => (group ?? "").replaceAll("^", " ").trim();
  const groups = [plain(name.Ideographic), plain(name.Alphabetic), plain(name.Ideographic || name.Alphabetic ? "" : name.Phonetic)];
  const shown = groups.filter(Boolean);
  return shown.length > 1 ? `${shown[0]} (${shown[1]})` : shown[0] ?? "";
}

export const date = (raw) => (/^\d{8}$/.test(raw) ? `${raw.slice(0, 4)}-${raw.slice(4, 6)}-${raw.slice(6)}` : raw);

/** One frame's native samples in little endian, whatever the object was stored as. */
export async function samples(path, signal) {
  const response = await get(path, 'application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1', signal);
  return response.arrayBuffer();
}

export async function picture(path, signal) {
  const response = await get(path, "image/jpeg", signal);
  return createImageBitmap(await response.blob());
}
