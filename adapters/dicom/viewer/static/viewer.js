// The page of images: the list of studies, or one study.
import { show as showList } from "./list.js";
import { show as showStudy } from "./study.js";
import { language, say } from "./words.js";

document.documentElement.lang = language;
const parameters = new URLSearchParams(location.search);
const uids = parameters.getAll("StudyInstanceUIDs").flatMap((part) => part.split(",")).filter((uid) => /^[0-9.]{1,64}$/.test(uid));
const ohif = document.getElementById("ohif");
if (document.documentElement.dataset.ohif === "yes") {
  ohif.href = uids.length ? `ohif/viewer?StudyInstanceUIDs=${uids.join(",")}` : "ohif/";
  ohif.hidden = false;
}
window.addEventListener("unhandledrejection", (event) => say(String(event.reason?.message ?? event.reason)));
const main = document.getElementById("main");
if (uids.length) showStudy(main, uids, parameters.get("SeriesInstanceUID"));
else showList(main, parameters);
