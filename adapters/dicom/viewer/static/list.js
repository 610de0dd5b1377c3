// The list of studies, searched with QIDO-RS.
import { date, Failed, json, person, text, values } from "./dicomweb.js";
import { element, say, word } from "./words.js";

const PAGE = 50;
const MODALITIES = ["CR", "CT", "DX", "ES", "IO", "MG", "MR", "NM", "OP", "OT", "PT", "PX", "RF", "SC", "SM", "US", "XA"];
const FIELDS = ["id", "name", "from", "to", "modality"];

function query(wanted, offset) {
  const parts = new URLSearchParams({ limit: PAGE + 1, offset, includefield: "00081030", fuzzymatching: "true" });
  const plain = (value) => value.trim().replaceAll("\\", "");
  if (wanted.id) parts.set("PatientID", plain(wanted.id));
  if (wanted.name) parts.set("PatientName", plain(wanted.name) + "*");
  if (wanted.from || wanted.to) parts.set("StudyDate", [wanted.from, wanted.to].map((day) => day.replaceAll("-", "")).join("-"));
  if (wanted.modality) parts.set("ModalitiesInStudy", wanted.modality);
  return parts;
}

function row(study) {
  const uid = text(study, "0020000D");
  const address = `viewer?StudyInstanceUIDs=${encodeURIComponent(uid)}`;
  const link = element("a", { href: address }, person(study, "00100010") || text(study, "00100020") || word("open"));
  return element(
    "tr", { className: "study", onclick: (event) => event.target === link || location.assign(address) },
    element("td", {}, link),
    element("td", {}, text(study, "00100020")),
    element("td", {}, date(text(study, "00080020"))),
    element("td", {}, values(study, "00080061").join(" ")),
    element("td", { className: "wide" }, text(study, "00081030")),
    element("td", {}, text(study, "00080050")),
    element("td", {}, `${text(study, "00201206")} / ${text(study, "00201208")}`),
  );
}

export function show(main, parameters) {
  document.title = word("studies");
  const wanted = Object.fromEntries(FIELDS.map((key) => [key, parameters.get(key) ?? ""]));
  const input = (key, type) => element("label", {}, word(key), element("input", { name: key, type, value: wanted[key], autocomplete: "off" }));
  const choice = element("select", { name: "modality" }, element("option", { value: "" }, word("any")), ...MODALITIES.map((name) => element("option", { value: name, selected: name === wanted.modality }, name)));
  const form = element(
    "form", { className: "search", role: "search" }, input("id", "search"), input("name", "search"), input("from", "date"), input("to", "date"),
    element("label", {}, word("modality"), choice), element("button", {}, word("search")),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const given = [...new FormData(form)].filter(([, entry]) => entry);
    location.assign(given.length ? `viewer?${new URLSearchParams(given)}` : "viewer");
  });
  const heads = ["name", "id", "date", "modality", "description", "accession"].map((key) => element("th", { scope: "col" }, word(key)));
  const body = element("tbody");
  const table = element("table", {}, element("thead", {}, element("tr", {}, ...heads, element("th", { scope: "col" }, `${word("series")} / ${word("images")}`))), body);
  const note = element("p", { className: "note", role: "status" }, word("loading"));
  const more = element("button", { hidden: true, onclick: () => load() }, word("more"));
  main.replaceChildren(form, table, note, more);
  let offset = 0;
  async function load() {
    more.hidden = true;
    try {
      const found = await json(`/studies?${query(wanted, offset)}`);
      say("");
      body.append(...found.slice(0, PAGE).map(row));
      offset += PAGE;
      more.hidden = found.length <= PAGE;
      note.textContent = body.childElementCount ? "" : word("none");
    } catch (error) {
      note.textContent = "";
      say(error instanceof Failed ? error.message : String(error));
    }
  }
  load();
}
