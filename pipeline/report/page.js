"use strict";
// The word browser. The table already holds the first words; without this script it stays as it is.
(() => {
  const source = document.getElementById("words-data");
  const table = document.querySelector("#word-table tbody");
  const browser = document.getElementById("browser");
  if (!source || !table || !browser) return;
  const PAGE = 100;
  const data = JSON.parse(source.textContent);
  const search = document.getElementById("word-search");
  const pos = document.getElementById("word-pos");
  const more = document.getElementById("word-more");
  const count = document.getElementById("word-count");
  const buttons = [...browser.querySelectorAll("[data-list]")];
  const fold = (text) => text.normalize("NFKC").toLocaleLowerCase();
  const folded = { kept: data.kept.text.map(fold), nearest: data.nearest.text.map(fold) };
  const labels = data.labels.map(fold);
  const lists = {
    farthest: { words: "kept", order: data.kept.text.map((_, i) => i), of: "negative labels" },
    last: { words: "kept", order: data.kept.text.map((_, i) => i).reverse(), of: "negative labels, the last kept first" },
    nearest: { words: "nearest", order: data.nearest.text.map((_, i) => i), of: "candidates nearest to the ID labels" },
  };
  let list = "farthest";
  let found = [];
  let shown = 0;

  // Words are data: they become text nodes, never markup.
  const cell = (kind, text, className) => {
    const element = document.createElement(kind);
    if (kind === "th") element.scope = "row";
    if (className) element.className = className;
    if (className === "num" || className === "num dim") element.textContent = text;
    else element.appendChild(document.createElement("bdi")).textContent = text;
    return element;
  };

  const row = (words, i) => {
    const line = document.createElement("tr");
    const word = cell("th", words.text[i]);
    const kind = data.pos[words.pos[i]];
    if (kind) {
      const small = document.createElement("span");
      small.className = "dim";
      small.textContent = " " + kind;
      word.append(small);
    }
    const near = words.near[i] === null ? "" : data.labels[words.near[i]];
    const cosine = words.cos[i] === null ? "" : "cosine " + words.cos[i].toFixed(3);
    const why = cell("td", near);
    if (cosine) why.title = cosine;
    line.append(
      cell("td", String(words.rank[i]), "num dim"), word,
      cell("td", words.d[i] === null ? "–" : words.d[i].toFixed(3).replace("-", "−"), "num"), why);
    return line;
  };

  const extend = () => {
    const words = data[lists[list].words];
    const part = document.createDocumentFragment();
    for (const i of found.slice(shown, shown + PAGE)) part.append(row(words, i));
    table.append(part);
    shown = Math.min(shown + PAGE, found.length);
    more.hidden = shown >= found.length;
  };

  const update = () => {
    const { words: name, order, of } = lists[list];
    const words = data[name];
    const asked = fold(search.value.trim());
    const kind = pos && pos.value !== "" ? Number(pos.value) : null;
    found = order.filter((i) =>
      (kind === null || words.pos[i] === kind) &&
      (!asked || folded[name][i].includes(asked) || (words.near[i] !== null && labels[words.near[i]].includes(asked))));
    table.replaceChildren();
    shown = 0;
    extend();
    const cut = name === "kept" && data.count > words.text.length ? ` (of ${data.count.toLocaleString("en")} in all)` : "";
    count.textContent = `${found.length.toLocaleString("en")} of ${order.length.toLocaleString("en")} ${order.length === 1 ? of.replace(/s\b/, "") : of}${cut}`;
    table.closest(".scroll").scrollTop = 0;
  };

  if (pos) {
    data.pos.forEach((name, i) => pos.add(new Option(name || "unknown", String(i))));
    pos.addEventListener("change", update);
  }
  for (const button of buttons) {
    button.addEventListener("click", () => {
      list = button.dataset.list;
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      update();
    });
  }
  search.addEventListener("input", update);
  more.addEventListener("click", extend);
  browser.hidden = false;
  update();
})();
