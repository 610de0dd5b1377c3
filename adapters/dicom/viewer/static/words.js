// The words of the page in English and Japanese, by the browser's language.
const WORDS = {
  en: {
    studies: "Studies", name: "Patient name", id: "Patient ID", from: "From", to: "To", modality: "Modality",
    search: "Search", any: "any", date: "Date", description: "Description", images: "Images", series: "Series",
    birth: "born", sex: "Sex", none: "No study matches.", more: "More", loading: "Loading …",
    noSeries: "The study has no series, or does not exist.", noPicture: "no picture",
    notShown: "This object is not an image.", window: "Window", pan: "Move", zoom: "Zoom", reset: "Reset", invert: "Invert",
    preset: "Preset", original: "Original", play: "Play", stop: "Stop", slice: "Slice", thickness: "Thickness", image: "Image",
    frame: "Frame", left: "Left", right: "Right", both: "Both sides", unpaired: "Unpaired", failed: "The server answered",
    unreachable: "The server does not answer.", lossy: "Lossy compression", accession: "Accession", instanceCount: "images",
    soft: "Soft tissue", lung: "Lung", bone: "Bone", brain: "Brain", abdomen: "Abdomen", full: "Full range",
    stage: "Image. Arrow keys change the image, + and − the zoom, I inverts, R resets, space plays.", open: "Open",
  },
  ja: {
    studies: "検査一覧", name: "患者氏名", id: "患者ID", from: "開始日", to: "終了日", modality: "モダリティ",
    search: "検索", any: "すべて", date: "検査日", description: "検査内容", images: "画像数", series: "シリーズ",
    birth: "生年月日", sex: "性別", none: "該当する検査はありません。", more: "さらに表示", loading: "読み込み中…",
    noSeries: "シリーズがないか、検査が存在しません。", noPicture: "画像なし",
    notShown: "このオブジェクトは画像ではありません。", window: "階調", pan: "移動", zoom: "拡大", reset: "リセット", invert: "白黒反転",
    preset: "プリセット", original: "初期値", play: "再生", stop: "停止", slice: "スライス", thickness: "スライス厚", image: "画像",
    frame: "フレーム", left: "左", right: "右", both: "両側", unpaired: "対なし", failed: "サーバーの応答",
    unreachable: "サーバーが応答しません。", lossy: "非可逆圧縮", accession: "受付番号", instanceCount: "画像",
    soft: "軟部", lung: "肺野", bone: "骨", brain: "脳", abdomen: "腹部", full: "全範囲",
    stage: "画像。矢印キーで画像送り、+ − で拡大縮小、I で反転、R でリセット、スペースで再生。", open: "開く",
  },
};

export const language = (navigator.languages ?? [navigator.language]).map((tag) => tag.slice(0, 2)).find((tag) => tag in WORDS) ?? "en";
export const word = (key) => WORDS[language][key] ?? key;

/** Make an element with properties and children; text is never taken for markup. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key in made && key !== "list") made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function say(text) {
  const place = document.getElementById("message");
  place.textContent = text;
  place.hidden = !text;
}
