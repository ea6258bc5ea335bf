"use strict";
// The page of groups. Which groups it shows stands in the address behind the #, so that it can be kept and passed on.

(() => {
  const { element, foreign, number, score } = gallery;
  const MATCHES_A_PAGE = 20;
  const facts = document.body.dataset;
  const tiers = facts.tiers.split(" ");
  const counts = { groups: Number(facts.groups), pages: Number(facts.pages), files: Number(facts.searchFiles) };
  const form = document.getElementById("filters");
  const status = document.getElementById("status");
  const cards = document.getElementById("cards");
  const pagers = document.querySelectorAll(".pager");
  const TEXTS = ["text", "min", "max", "from", "to", "group"];
  let asked = 0; // of two answers under way, the later question's is shown
  let search = { key: null };

  function state() {
    const given = new URLSearchParams(location.hash.slice(1));
    const wanted = { tiers: (given.get("tier") || "").split(",").filter((tier) => tiers.includes(tier)), cross: given.get("cross") === "1" };
    for (const name of TEXTS) wanted[name] = given.get(name) || "";
    wanted.page = Math.max(1, Math.floor(Number(given.get("page"))) || 1);
    return wanted;
  }

  function address(wanted, page) {
    const parts = new URLSearchParams();
    for (const name of TEXTS) if (wanted[name]) parts.set(name, wanted[name]);
    if (wanted.tiers.length) parts.set("tier", wanted.tiers.join(","));
    if (wanted.cross) parts.set("cross", "1");
    if (page > 1) parts.set("page", page);
    return `#${parts}`;
  }

  function matcher(wanted) {
    const mask = wanted.tiers.reduce((sum, tier) => sum | (1 << tiers.indexOf(tier)), 0);
    const limit = (text, otherwise) => (text === "" || Number.isNaN(Number(text)) ? otherwise : Number(text));
    const [low, high] = [limit(wanted.min, -Infinity), limit(wanted.max, Infinity)];
    const [least, most] = [limit(wanted.from, 0), limit(wanted.to, Infinity)];
    const byScore = low > -Infinity || high < Infinity;
    return ([, items, found, lowest, crosses, id]) =>
      (!mask || (found & mask) !== 0) && (!byScore || (lowest !== null && lowest >= low && lowest <= high)) &&
      items >= least && items <= most && (!wanted.cross || crosses === 1) && (!wanted.group || wanted.group === id);
  }

  // Where all groups are that match, as [page, place on it].
  async function find(wanted, still) {
    const key = address(wanted, 1);
    if (search.key === key) return search.found;
    const matches = matcher(wanted);
    const text = wanted.text.toLowerCase();
    const found = [];
    let page = -1, place = 0, said = false;
    for (let file = 0; file < counts.files; file++) {
      const entries = await gallery.load(gallery.fileNumber("search", file));
      if (!still()) return null;
      for (const entry of entries) {
        said = said || (text !== "" && entry[entry.length - 1].toLowerCase().includes(text));
        if (entry.length === 1) continue;
        place = entry[0] === page ? place + 1 : 0;
        page = entry[0];
        if ((text === "" || said || entry[5].toLowerCase().includes(text)) && matches(entry)) found.push([page, place]);
        said = false;
      }
      status.textContent = `Looking through all groups: ${number(found.length)} found, ${Math.round((100 * (file + 1)) / counts.files)} %`;
    }
    search = { key, found };
    return found;
  }

  const line = (label, value) => (value === undefined ? null : element("p", {}, element("span", { class: "soft" }, `${label} `), foreign(String(value))));

  function member(each) {
    const role = each.role || "dropped";
    const known = ["keeper", "dropped", "protected", "kept"].includes(role) ? role : "kept";
    const size = each.width && each.height ? `${number(each.width)} × ${number(each.height)}` : undefined;
    const found = [each.tier, each.score === undefined ? null : score(each.score)].filter(Boolean).join(" ");
    return element("li", { class: `member ${known}` },
      gallery.picture(each, each.id),
      element("p", { class: "role" }, role === "keeper" ? "★ keeper" : role, found ? ` · ${found}` : ""),
      element("p", {}, foreign(each.id)),
      each.why ? element("p", {}, foreign(each.why)) : null,
      line("product", each.product), line("of", each.value), line("data set", each.dataset), line("label", each.label),
      line("size", size), line("bytes", each.bytes === undefined ? undefined : number(each.bytes)), line("image", each.uri));
  }

  function card(group) {
    const more = group.items - group.members.length;
    const distinct = (name) => new Set(group.members.map((each) => each[name]).filter((value) => value !== undefined));
    const crossing = ["value", "dataset"].map(distinct).find((values) => values.size > 1);
    const badge = (text, kind) => element("span", { class: `badge ${kind || ""}` }, text);
    return element("article", { class: "group", tabindex: "-1", "aria-label": `Group ${group.id}` },
      element("h2", {}, "Group ", foreign(group.id)),
      element("div", { class: "badges" },
        badge(`${number(group.items)} items`), ...tiers.filter((_, bit) => group.tiers & (1 << bit)).map((tier) => badge(tier)),
        group.lowest === undefined ? null : badge(`lowest score ${score(group.lowest)}`),
        group.crosses ? badge(`crosses ${crossing ? [...crossing].slice(0, 4).join(" / ") : ""}`, "crosses") : null),
      element("ul", { class: "members" }, ...group.members.map(member)),
      more > 0 ? element("p", { class: "soft more" }, `and ${number(more)} more items`) : null);
  }

  function groupsOf(places) {
    return Promise.all(places.map(async ([page, place]) => (await gallery.load(gallery.fileNumber("groups", page)))[place]));
  }

  async function show(wanted, still) {
    const filtered = address(wanted, 1) !== "#";
    let page = wanted.page, last, shown, text;
    if (filtered) {
      const found = await find(wanted, still);
      if (found === null) return;
      last = Math.max(1, Math.ceil(found.length / MATCHES_A_PAGE));
      page = Math.min(page, last);
      shown = await groupsOf(found.slice((page - 1) * MATCHES_A_PAGE, page * MATCHES_A_PAGE));
      text = `${number(found.length)} of ${number(counts.groups)} groups match. Page ${number(page)} of ${number(last)}.`;
    } else {
      last = Math.max(1, counts.pages);
      page = Math.min(page, last);
      shown = counts.pages ? await gallery.load(gallery.fileNumber("groups", page - 1)) : [];
      text = `${number(counts.groups)} groups. Page ${number(page)} of ${number(last)}.`;
    }
    if (!still()) return;
    cards.replaceChildren(...shown.map(card));
    for (const pager of pagers) gallery.pager(pager, page, last, (to) => address(wanted, to));
    status.textContent = text;
    gallery.ready(location.hash || "#");
  }

  function fill(wanted) {
    // Not under the hands of who is typing.
    for (const name of TEXTS) if (form.elements[name] !== document.activeElement) form.elements[name].value = wanted[name];
    for (const box of form.querySelectorAll("[name=tier]")) box.checked = wanted.tiers.includes(box.value);
    form.elements.cross.checked = wanted.cross;
  }

  async function render(arrived) {
    const mine = ++asked;
    const still = () => mine === asked;
    const wanted = state();
    delete document.documentElement.dataset.ready;
    fill(wanted);
    try {
      await show(wanted, still);
      if (arrived && still() && !form.contains(document.activeElement)) gallery.arrive(status);
    } catch (error) {
      if (still()) status.textContent = `${error.message}; the report is not whole.`;
    }
  }

  function ask() {
    const wanted = { page: 1, tiers: [...form.querySelectorAll("[name=tier]:checked")].map((box) => box.value), cross: form.elements.cross.checked };
    for (const name of TEXTS) wanted[name] = form.elements[name].value.trim();
    const to = address(wanted, 1);
    if (to !== (location.hash || "#")) location.hash = to;
  }

  let pause;
  form.addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(ask, 250);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(pause);
    ask();
  });
  form.addEventListener("reset", () => {
    clearTimeout(pause);
    pause = setTimeout(ask, 0);
  });
  window.addEventListener("hashchange", () => render(true));
  gallery.keys(() => cards.children, { n: () => gallery.turn("next"), p: () => gallery.turn("prev"), "/": () => form.elements.text.focus() });
  render(false);
})();
