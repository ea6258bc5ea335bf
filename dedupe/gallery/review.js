"use strict";
// The page of uncertain pairs. Verdicts are kept by the browser where it allows that, and until the page is left where not.

(() => {
  const { element, foreign, number, score } = gallery;
  const facts = document.body.dataset;
  const counts = { pairs: Number(facts.pairs), pages: Number(facts.pages) };
  const status = document.getElementById("status");
  const cards = document.getElementById("cards");
  const pagers = document.querySelectorAll(".pager");
  const exported = document.getElementById("export");
  const cleared = document.getElementById("clear");
  const KEY = `dedupe verdicts ${facts.report}`;
  const VERDICTS = ["different", "same"];
  const verdicts = new Map();
  let asked = 0;

  const nameOf = (pair) => JSON.stringify(pair.sides.map((side) => side.id));

  function remember() {
    try {
      localStorage.setItem(KEY, JSON.stringify([...verdicts]));
    } catch {
      // Not allowed, or full: the verdicts last as long as the page.
    }
    exported.textContent = `Export reviewed pairs (${number(verdicts.size)})`;
    exported.disabled = cleared.disabled = verdicts.size === 0;
  }

  function recall() {
    try {
      for (const [name, verdict] of JSON.parse(localStorage.getItem(KEY) || "[]")) {
        if (VERDICTS.includes(verdict)) verdicts.set(name, verdict);
      }
    } catch {
      // Not allowed, or not ours.
    }
  }

  function judge(name, boxes, verdict) {
    for (const box of boxes) box.checked = box.value === verdict;
    if (verdict) verdicts.set(name, verdict);
    else verdicts.delete(name);
    remember();
  }

  function side(each) {
    return element("li", { class: "member" }, gallery.picture(each, each.id), element("p", {}, foreign(each.id)),
      each.uri ? element("p", { class: "soft" }, foreign(each.uri)) : null);
  }

  function card(pair, at) {
    const name = nameOf(pair);
    const boxes = VERDICTS.map((verdict) => element("input", { type: "checkbox", value: verdict }));
    for (const box of boxes) {
      box.checked = verdicts.get(name) === box.value;
      box.addEventListener("change", () => judge(name, boxes, box.checked ? box.value : null));
    }
    const scores = [["score", pair.score], ["thumbnail", pair.thumbnail_score], ["embedding", pair.embedding_score]]
      .filter(([, value]) => value !== undefined).map(([label, value]) => `${label} ${score(value)}`);
    if (pair.hamming !== undefined) scores.push(`${number(pair.hamming)} bits apart`);
    const made = element("article", { class: "group pair", tabindex: "-1", "aria-label": `Pair ${number(at + 1)}` },
      element("h2", {}, `Pair ${number(at + 1)}`),
      element("p", {}, [pair.tier, ...scores].filter(Boolean).join(" · ")),
      element("ul", { class: "members" }, ...pair.sides.map(side)),
      element("fieldset", { class: "verdict" }, element("legend", {}, "These two are"),
        element("label", {}, boxes[0], " different"), element("label", {}, boxes[1], " the same")),
      pair.group ? element("p", {}, element("a", { href: `groups.html#${new URLSearchParams({ group: pair.group })}` }, "its group")) : null);
    made.judge = (verdict) => judge(name, boxes, verdicts.get(name) === verdict ? null : verdict);
    return made;
  }

  function field(text) {
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  exported.addEventListener("click", () => {
    const rows = [...verdicts].map(([name, verdict]) => [...JSON.parse(name), verdict].map(field).join(","));
    const file = new Blob([["item_id,other_item_id,verdict", ...rows, ""].join("\n")], { type: "text/csv" });
    const link = element("a", { href: URL.createObjectURL(file), download: "reviewed-pairs.csv" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  });

  cleared.addEventListener("click", () => {
    if (!confirm("Forget all verdicts of this report?")) return;
    verdicts.clear();
    remember();
    render(false);
  });

  async function render(arrived) {
    const mine = ++asked;
    const last = Math.max(1, counts.pages);
    const page = Math.min(last, Math.max(1, Math.floor(Number(new URLSearchParams(location.hash.slice(1)).get("page"))) || 1));
    delete document.documentElement.dataset.ready;
    try {
      const shown = counts.pages ? await gallery.load(gallery.fileNumber("pairs", page - 1)) : [];
      if (mine !== asked) return;
      cards.replaceChildren(...shown.map(card));
      for (const pager of pagers) gallery.pager(pager, page, last, (to) => `#page=${to}`);
      status.textContent = `${number(counts.pairs)} pairs, the least certain first. Page ${number(page)} of ${number(last)}.`;
      if (arrived) gallery.arrive(status);
      gallery.ready(location.hash || "#");
    } catch (error) {
      if (mine === asked) status.textContent = `${error.message}; the report is not whole.`;
    }
  }

  window.addEventListener("hashchange", () => render(true));
  gallery.keys(() => cards.children, {
    n: () => gallery.turn("next"), p: () => gallery.turn("prev"),
    d: (card) => card && card.judge("different"), s: (card) => card && card.judge("same"),
  });
  recall();
  remember();
  render(false);
})();
