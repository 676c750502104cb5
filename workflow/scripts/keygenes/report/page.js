"use strict";
// What moves on the page: charts, the table of genes, and what opens for a gene. All of it lies in
// this folder; nothing is asked of a network. Without this script the page shows its figures.

const dark = window.matchMedia("(prefers-color-scheme: dark)");
const packed = {};
const loaded = {};
window.keygenes = { take: (name, text) => { packed[name] = text; } };

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

/** Return a promise of the data in data/{name}.js. */
function load(name) {
  loaded[name] ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = `data/${name}.js`;
    script.onload = resolve;
    script.onerror = () => reject(new Error(`data/${name}.js cannot be read`));
    document.head.append(script);
  }).then(() => unpack(packed[name]));
  return loaded[name];
}

/** Return an element with attributes and children; text stays text. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Return a number as text, a dash where there is none. */
function shownNumber(value) {
  if (value === null) return "–";
  if (value !== 0 && Math.abs(value) < 1e-3) return value.toExponential(2);
  return value.toLocaleString("en", { maximumSignificantDigits: 4 });
}

// ---- charts

function theme() {
  const colours = getComputedStyle(document.documentElement);
  const [ink, soft, line] = ["--ink", "--soft", "--line"].map((name) => colours.getPropertyValue(name).trim());
  const text = { labelColor: ink, titleColor: ink };
  return {
    background: "transparent",
    font: "system-ui, sans-serif",
    axis: { ...text, gridColor: line, domainColor: soft, tickColor: soft },
    legend: text,
    header: text,
    title: { color: ink },
    text: { color: ink },
    view: { stroke: line },
  };
}

async function draw(box, spec) {
  const inner = element("div"); // the library changes how its element is laid out
  box.replaceChildren(inner);
  const options = { actions: false, renderer: "svg", config: theme(), tooltip: { theme: dark.matches ? "dark" : "light" } };
  await vegaEmbed(inner, spec, options);
}

const drawn = new Map(); // box: specification, to draw again in the other colours

async function drawFigure(figure) {
  const specs = await load("charts");
  const box = figure.querySelector(".chart");
  const spec = { ...specs[figure.dataset.chart], description: figure.querySelector("img").alt };
  await draw(box, spec);
  drawn.set(box, spec);
}

function offerCharts() {
  for (const figure of document.querySelectorAll("figure[data-chart]")) {
    const explore = figure.querySelector(".explore");
    explore.hidden = false; // without this script there is nothing to open
    explore.addEventListener("toggle", () => {
      const box = explore.querySelector(".chart");
      if (explore.open && !drawn.has(box)) drawFigure(figure).catch((error) => { box.textContent = `The chart cannot be drawn: ${error.message}`; });
    });
  }
}

// ---- the table of genes

const last = (a, b, compare) => (a === null ? (b === null ? 0 : 1) : b === null ? -1 : compare(a, b));

function column({ title, kind }, index) {
  const text = DataTable.render.text();
  const shown = {
    gene: (value) => `<button type="button" class="gene">${text.display(value)}</button>`,
    text: (value) => text.display(value ?? ""),
    flag: (value) => (value ? "yes" : ""),
    number: shownNumber,
  }[kind];
  return {
    data: index,
    title: text.display(title),
    className: kind === "number" ? "dt-right" : "dt-left",
    searchable: kind === "gene" || kind === "text",
    type: kind === "number" ? "nullable" : "string",
    render: (value, purpose) => (purpose === "display" ? shown(value) : purpose === "filter" ? value ?? "" : value),
  };
}

const genes = { table: null, task: null, rows: [] };

async function showGenes(task) {
  const place = document.getElementById("genes-table");
  place.setAttribute("aria-busy", "true");
  const { columns, rows, leading } = await load(`genes.${task}`);
  if (genes.table) genes.table.destroy(true);
  const flags = columns.flatMap(({ title, kind }, index) => (kind === "flag" ? [[title, index]] : []));
  const sets = document.getElementById("genes-set");
  sets.replaceChildren(element("option", { value: "" }, "all genes"), ...flags.map(([title, index]) => element("option", { value: index }, title)));
  const made = element("table", { class: "compact stripe nowrap", "aria-label": `Genes, task ${task}` });
  place.replaceChildren(made);
  genes.table = new DataTable(made, {
    data: rows,
    columns: columns.map(column),
    order: [[leading, "asc"]],
    pageLength: 25,
    lengthMenu: [10, 25, 100, 500],
    searchDelay: 0,
    scrollX: false,
    layout: { topStart: "pageLength", topEnd: { search: { text: "Search", placeholder: "symbol or Ensembl id" } }, bottomStart: "info", bottomEnd: "paging" },
    language: { info: "_START_ to _END_ of _TOTAL_ genes", infoFiltered: "(of _MAX_)", zeroRecords: "No gene matches.", lengthMenu: "_MENU_ genes a page" },
  });
  columns.forEach(({ hint }, index) => { genes.table.column(index).header().title = hint; });
  Object.assign(genes, { task, rows });
  place.setAttribute("aria-busy", "false");
}

function keepSet() {
  const { value } = document.getElementById("genes-set");
  genes.table.search.fixed("set", value === "" ? null : (_text, row) => row[Number(value)] === 1);
  genes.table.draw();
}

// ---- one gene

/** Return a table; its caption may be text, or a list of texts and elements. */
function listing(caption, heads, rows) {
  const cell = (text, i) => element(i ? "td" : "th", i ? {} : { scope: "row" }, text);
  return element(
    "table", {},
    element("caption", {}, ...[caption].flat()),
    element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map(cell)))),
  );
}

const note = (text) => element("span", { class: "where" }, text);

const classesOf = (details) => (details.unit ? `${genes.task} (${details.unit})` : genes.task);

function rankChart(details, ranks) {
  const values = details.classes.flatMap((name, i) => {
    const [mean, sd, n] = ranks[i];
    return mean === null ? [] : [{ class: name, mean, low: Math.max(1, mean - (sd ?? 0)), high: mean + (sd ?? 0), n, cells: `n = ${shownNumber(n)}` }];
  });
  const width = Math.min(240, window.innerWidth - 190); // beside it stand names and n
  const y = { field: "class", type: "nominal", sort: details.classes, title: classesOf(details) };
  const tooltip = ["class", "mean", "n"].map((field) => ({ field }));
  return {
    data: { values },
    width,
    height: { step: 22 },
    encoding: { y, tooltip },
    layer: [
      { mark: { type: "rule", color: "#56B4E9", strokeWidth: 2 }, encoding: { x: { field: "low", type: "quantitative", title: "rank in a cell (1: first), mean ± sd", scale: { zero: false }, axis: { tickCount: 5 } }, x2: { field: "high" } } },
      { mark: { type: "point", filled: true, size: 60, opacity: 1, color: "#0072B2" }, encoding: { x: { field: "mean", type: "quantitative" } } },
      { mark: { type: "text", align: "left", dx: 6 }, encoding: { x: { value: width }, text: { field: "cells" } } },
    ],
  };
}

function headChart(details, attention) {
  const values = attention.map((value, i) => ({ layer: Math.floor(i / details.heads) + 1, head: (i % details.heads) + 1, value }));
  const span = Math.max(0.1, ...attention.map((value) => Math.abs(value - 1))); // smaller differences stay pale
  return {
    data: { values },
    width: { step: 26 },
    height: { step: 22 },
    mark: "rect",
    encoding: {
      x: { field: "head", type: "ordinal", axis: { labelAngle: 0 } },
      y: { field: "layer", type: "ordinal" },
      color: { field: "value", type: "quantitative", title: "times uniform", scale: { scheme: "purpleorange", domain: [1 - span, 1 + span] } },
      tooltip: ["layer", "head", "value"].map((field) => ({ field })),
    },
  };
}

function attentionPart(n, chart) {
  const cells = n === null ? [] : [note(`mean over the n = ${shownNumber(n)} test cells that have it; 1: uniform attention`)];
  return element("section", {}, element("h3", {}, "Attention it receives, by layer and head", ...cells), chart);
}

async function openGene(row) {
  const details = await load(`details.${genes.task}`);
  const at = genes.rows.indexOf(row);
  const [symbol, id] = row;
  const dialog = document.getElementById("gene");
  dialog.querySelector("h2").textContent = symbol;
  dialog.querySelector(".of").textContent = `${id}, task ${genes.task}${details.regime ? `, regime ${details.regime}` : ""}; test cells, all folds and trainings pooled`;
  const body = dialog.querySelector(".details");
  const scores = details.tracks.map((track, i) => [track, ...details.scores[at][i].map(shownNumber), details.hints[i]]);
  const tests = details.groups.map((group, i) => [group, ...[...details.tests[at][i], ...details.sizes[i]].map(shownNumber)]);
  const [ranks, heads] = [0, 1].map(() => element("div", { class: "chart" }));
  const attended = details.layers > 0; // without an encoder there is nothing that attends
  body.replaceChildren(
    element("div", { class: "beside" },
      element("section", {}, element("h3", {}, "Its rank in cells of each class"), ranks,
        element("div", { class: "chart" }, listing(
          ["Differential expression, each class against the rest", note("rank-sum test between all cells of the study; p: Benjamini-Hochberg over genes; n: cells of the class and of the rest")],
          [classesOf(details), "log2 fold change", "adjusted p", "n", "n rest"], tests))),
      ...(attended ? [attentionPart(details.cells[at], heads)] : [])),
    element("div", { class: "tracks" }, listing(
      ["What each track says of it", note("rank 1: the most key; q: test between wells, Benjamini-Hochberg over genes; n: cells behind the score")],
      ["track", "score", "rank", "q", "n", "what the score is [unit]"], scores)),
  );
  dialog.showModal();
  dialog.scrollTop = 0;
  const seen = (attended ? details.attention[at] : details.ranks[at].flat()).some((value) => value !== null);
  const missing = "No test cell has it among its tokens.";
  if (!seen) { ranks.textContent = missing; heads.textContent = missing; return; }
  const described = (spec, text) => ({ ...spec, description: `${text} ${symbol}` });
  await draw(ranks, described(rankChart(details, details.ranks[at]), "Mean rank per class of"));
  if (attended) await draw(heads, described(headChart(details, details.attention[at]), "Attention per layer and head of"));
}

function watchGenes() {
  const task = document.getElementById("genes-task");
  if (!task) return;
  const failed = (error) => { document.getElementById("genes-table").textContent = `The table cannot be shown: ${error.message}`; };
  DataTable.ext.type.order["nullable-asc"] = (a, b) => last(a, b, (x, y) => x - y);
  DataTable.ext.type.order["nullable-desc"] = (a, b) => last(a, b, (x, y) => y - x);
  task.addEventListener("change", () => showGenes(task.value).catch(failed));
  document.getElementById("genes-set").addEventListener("change", keepSet);
  document.getElementById("genes-table").addEventListener("click", (event) => {
    const button = event.target.closest("button.gene");
    if (button) openGene(genes.table.row(button.closest("tr")).data());
  });
  showGenes(task.value).catch(failed);
}

async function showTimes() {
  const { heads, rows } = await load("run_times");
  if (rows.length) document.getElementById("run-times").replaceChildren(listing("Jobs of all folds, trainings and tasks together.", heads, rows));
}

/** Load all figures once the page is there: one that nobody has scrolled to would not be printed. */
function loadFigures() {
  for (const image of document.querySelectorAll("img[loading=lazy]")) image.loading = "eager";
}

// ---- all of it

function followTheme() {
  document.documentElement.classList.toggle("dark", dark.matches);
  for (const [box, spec] of drawn) draw(box, spec);
}

dark.addEventListener("change", followTheme);
followTheme();
offerCharts();
watchGenes();
window.addEventListener("load", loadFigures);
showTimes().catch((error) => console.warn(error.message));
