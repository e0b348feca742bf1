"use strict";
// Sorting and filtering. The table already holds the averages; without this script it stays as it is.
(() => {
  const source = document.getElementById("board-data");
  const table = document.getElementById("lines");
  if (!source || !table) return;
  const data = JSON.parse(source.textContent);
  const ood = document.getElementById("ood");
  const model = document.getElementById("model");
  const needs = document.getElementById("needs");
  const count = document.getElementById("count");
  const apart = document.getElementById("apart");
  const heads = [...table.querySelectorAll("[data-key]")];
  const columns = new Map(data.columns.map(([key, kind, better]) => [key, { kind, better }]));
  // Where a figure is in a line's list.
  const PLACES = { auroc: 1, fpr95: 2, aupr_id: 3, aupr_ood: 4 };
  let sort = { key: "auroc", up: false };

  const value = (line, key) => (key in PLACES ? line.figures[ood.value][PLACES[key]][0] : line[key]);
  const total = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;

  // Names are data: they become text nodes, never markup.
  const cell = (kind, text, className) => {
    const element = document.createElement(kind);
    if (className) element.className = className;
    if (className === undefined) element.appendChild(document.createElement("bdi")).textContent = text;
    else element.textContent = text;
    return element;
  };

  const figure = (line, key) => {
    const [, text, interval] = line.figures[ood.value][PLACES[key]];
    const made = cell("td", text, "num");
    if (interval) made.append(cell("small", interval, "ci"));
    return made;
  };

  const row = (line, rank) => {
    const made = document.createElement("tr");
    const method = cell("th", line.method);
    method.scope = "row";
    for (const tag of line.tags) method.append(" ", cell("span", tag, "tag"));
    made.append(
      cell("td", String(rank), "num dim"), method, cell("td", line.run),
      ...Object.keys(PLACES).map((key) => figure(line, key)),
      cell("td", line.negatives === null ? "–" : line.negatives.toLocaleString("en"), "num"), cell("td", line.needs, "dim"),
      cell("td", line.model));
    return made;
  };

  const body = (group, lines) => {
    const made = document.createElement("tbody");
    const line = made.appendChild(document.createElement("tr"));
    line.className = "group-of";
    const head = line.appendChild(document.createElement("th"));
    head.scope = "rowgroup";
    head.colSpan = heads.length + 1;
    const text = head.appendChild(document.createElement("span"));
    text.dir = "auto";
    text.textContent = data.headings[group];
    made.append(...lines.map((found, i) => row(found, i + 1)));
    return made;
  };

  // What is not known comes last, whichever way the rest is sorted; equals keep their order.
  const compare = (a, b) => {
    const [x, y] = [value(a, sort.key), value(b, sort.key)];
    if (x === null || y === null) return (x === null) - (y === null);
    const order = typeof x === "number" ? x - y : x.localeCompare(y, "en", { numeric: true });
    return sort.up ? order : -order;
  };

  const update = () => {
    const may = new Set([...needs.querySelectorAll("input:checked")].map((box) => box.value));
    const asked = model.value === "" ? null : data.models[Number(model.value)];
    const there = data.lines.filter((line) => Object.hasOwn(line.figures, ood.value));
    const shown = there.filter((line) =>
      (asked === null || line.model === asked) && line.has.every((need) => may.has(need)));
    const groups = new Map();
    for (const line of shown) {
      const group = line.figures[ood.value][0];
      groups.set(group, [...(groups.get(group) || []), line]);
    }
    for (const old of [...table.tBodies]) old.remove();
    for (const [group, lines] of groups) table.append(body(group, lines.sort(compare)));
    for (const head of heads) {
      if (head.dataset.key === sort.key) head.setAttribute("aria-sort", sort.up ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    }
    const name = ood.value === data.average ? "Average over the OOD sets" : `OOD ${ood.value}`;
    table.caption.querySelector("span").textContent = name;
    count.textContent = shown.length ? `${shown.length.toLocaleString("en")} of ${total(data.lines.length, "line")}` :
      `None of ${total(data.lines.length, "line")}: choose another model or let methods need more`;
    const found = [...groups.keys()].map((group) => data.groups[group]);
    const differ = data.peers.filter((_, i) => new Set(found.map((group) => group[i])).size > 1);
    const listed = differ.length > 1 ? `${differ.slice(0, -1).join(", ")} and ${differ.at(-1)}` : differ[0];
    apart.hidden = !differ.length;
    apart.textContent = differ.length ?
      `${found.length} groups of runs that can't be compared with each other: they differ in ${listed}.` : "";
  };

  for (const name of data.oods) ood.add(new Option(name === data.average ? "average of all" : name, name));
  data.models.forEach((name, i) => model.add(new Option(name, String(i))));
  document.getElementById("model-label").hidden = data.models.length < 2;
  for (const need of data.needs) {
    const label = needs.appendChild(document.createElement("label"));
    const box = label.appendChild(document.createElement("input"));
    Object.assign(box, { type: "checkbox", value: need, checked: true });
    label.append(need);
    box.addEventListener("change", update);
  }
  for (const head of heads) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const { key } = head.dataset;
      const { kind, better } = columns.get(key);
      // The first click brings the best to the top, or the first letter; the next turns it round.
      sort = { key, up: sort.key === key ? !sort.up : kind === "text" || better === "↓" };
      update();
    });
  }
  ood.addEventListener("change", update);
  model.addEventListener("change", update);
  document.getElementById("tools").hidden = false;
  update();
})();
