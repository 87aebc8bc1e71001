"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const specs = read("specs"), data = read("data");

  // Charts take the colours of the page, and take them anew when these change.
  const objects = (columns) => {
    const names = Object.keys(columns);
    return columns[names[0]].map((_, i) => Object.fromEntries(names.map((n) => [n, columns[n][i]])));
  };
  const named = {};
  const points = 4000; // More are drawn on a canvas: as many elements would stall a browser.
  const config = () => {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(name).trim();
    const text = { labelColor: of("--faint"), titleColor: of("--faint"), titleFontWeight: "normal" };
    return {
      font: getComputedStyle(document.body).fontFamily, view: { stroke: null },
      axis: { ...text, gridColor: of("--line"), domainColor: of("--line"), tickColor: of("--line"), labelLimit: 160 },
      legend: { labelColor: of("--ink"), titleColor: of("--faint") },
    };
  };
  const draw = () => Promise.all(Object.entries(specs).map(async ([key, spec]) => {
    const place = document.getElementById("chart-" + key);
    const name = (spec.data || (spec.layer || [{}])[0].data || {}).name;
    const made = structuredClone(spec);
    let renderer = "svg";
    if (name && data[name]) {
      named[name] ||= objects(data[name]);
      made.datasets = { ...made.datasets, [name]: named[name] };
      if (named[name].length > points) renderer = "canvas";
    }
    await vegaEmbed(place, made, { renderer, actions: false, config: config(), tooltip: { theme: "custom" } });
  }));
  const drawn = draw().then(() => document.documentElement.setAttribute("data-drawn", "yes"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.then(draw));

  // The table of rows. Whatever stands in a row is put there as text, never as markup.
  const rows = data.rows, table = document.getElementById("table");
  if (!rows || !table) return;
  const perPage = 50;
  const columns = [
    ["row", "row", true], ["rank", "rank", true], ["kept", "was", false],
    ["predicted", "predicted", true], ["prompt", "prompt", false], ["response", "response", false],
  ];
  const find = (id) => document.getElementById(id);
  const element = (tag, text, className) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  };
  const count = (n) => n.toLocaleString("en");
  const options = (id, values) => [...new Set(values)].sort().forEach((value) => {
    const made = element("option", value);
    made.value = value;
    find(id).append(made);
  });
  options("reason", rows.reason);
  options("flag", rows.flags.flat());
  const texts = rows.row.map((_, i) => (rows.prompt[i] + "\n" + rows.response[i]).toLowerCase());
  let sort = ["rank", 1], page = 0, shown = [], open = null;

  const head = table.tHead.rows[0];
  for (const [name, title, numeric] of columns) {
    const cell = element("th", undefined, numeric ? "number" : "");
    cell.scope = "col";
    const button = element("button", title);
    button.type = "button";
    button.addEventListener("click", () => {
      sort = [name, sort[0] === name ? -sort[1] : 1];
      page = 0;
      show();
    });
    cell.append(button);
    cell.dataset.column = name;
    head.append(cell);
  }

  const compare = (name, direction) => (a, b) => {
    const [x, y] = [rows[name][a], rows[name][b]];
    // What has no value stands last, whichever way the others go.
    if (x === null || y === null) return (x === null) - (y === null);
    return direction * (x < y ? -1 : x > y ? 1 : 0) || a - b;
  };
  const choose = () => {
    const search = find("search").value.trim().toLowerCase(), which = find("which").value;
    const reason = find("reason").value, flag = find("flag").value;
    shown = rows.row.map((_, i) => i).filter((i) =>
      (!search || texts[i].includes(search)) && (!which || (which === "kept") === rows.kept[i]) &&
      (!reason || rows.reason[i] === reason) && (!flag || rows.flags[i].includes(flag)));
    shown.sort(compare(...sort));
  };
  const number = (value, digits) => value === null ? "–" : value.toFixed(digits);
  const details = (i) => {
    const made = element("tr"), cell = element("td");
    cell.colSpan = columns.length;
    const flags = rows.flags[i].length ? `; flags: ${rows.flags[i].join(", ")}` : "";
    cell.append(element("p", `Row ${count(rows.row[i])}: ${rows.reason[i]}${flags}.`));
    const parts = rows.parts[i];
    if (parts.some(([, added]) => added !== null)) {
      const inner = element("table", undefined, "parts"), body = inner.createTBody();
      const add = (name, value, added) => {
        const line = body.insertRow();
        line.append(element("td", name), element("td", value, "number"), element("td", added, "number"));
      };
      const mean = rows.predicted[i] - parts.reduce((sum, [, added]) => sum + (added ?? 0), 0);
      add("column", "value", "adds");
      add("at the pool's mean", "", Number.isFinite(mean) && rows.predicted[i] !== null ? mean.toFixed(4) : "–");
      rows.rule.forEach((name, k) => add(name, parts[k][0] === null ? "–" : String(parts[k][0]),
        parts[k][1] === null ? "–" : (parts[k][1] >= 0 ? "+" : "") + parts[k][1].toFixed(4)));
      add("predicted", "", number(rows.predicted[i], 4));
      cell.append(inner);
    }
    made.append(cell);
    return made;
  };
  const line = (i) => {
    const made = element("tr");
    const button = element("button", count(rows.row[i]));
    button.type = "button";
    button.setAttribute("aria-expanded", String(open === i));
    button.setAttribute("aria-label", `Row ${rows.row[i]}, why`);
    button.addEventListener("click", () => {
      open = open === i ? null : i;
      fill();
      table.querySelector(`[data-row="${i}"] button`)?.focus();
    });
    const first = element("td", undefined, "number");
    first.append(button);
    made.dataset.row = i;
    made.append(
      first,
      element("td", rows.rank[i] === null ? "–" : count(rows.rank[i]), "number"),
      element("td", rows.kept[i] ? "kept" : rows.reason[i], rows.kept[i] ? "was kept" : "was"),
      element("td", number(rows.predicted[i], 4), "number"),
      element("td", rows.prompt[i], "text"),
      element("td", rows.response[i], "text"));
    return made;
  };
  const fill = () => {
    const pages = Math.max(1, Math.ceil(shown.length / perPage));
    page = Math.min(page, pages - 1);
    const lines = shown.slice(page * perPage, (page + 1) * perPage)
      .flatMap((i) => open === i ? [line(i), details(i)] : [line(i)]);
    table.tBodies[0].replaceChildren(...lines);
    for (const cell of head.cells) {
      const on = cell.dataset.column === sort[0];
      cell.setAttribute("aria-sort", on ? (sort[1] > 0 ? "ascending" : "descending") : "none");
    }
    find("count").textContent = `${count(shown.length)} of ${count(rows.row.length)} rows`;
    find("page").textContent = `page ${count(page + 1)} of ${count(pages)}`;
    find("before").disabled = page === 0;
    find("after").disabled = page === pages - 1;
  };
  const show = () => { choose(); fill(); };
  for (const id of ["search", "which", "reason", "flag"]) {
    find(id).addEventListener("input", () => { page = 0; open = null; show(); });
  }
  document.querySelector(".filters").addEventListener("submit", (event) => event.preventDefault());
  find("before").addEventListener("click", () => { page -= 1; fill(); });
  find("after").addEventListener("click", () => { page += 1; fill(); });
  show();
})();
