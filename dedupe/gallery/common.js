"use strict";
// What the pages with data share. Text only ever becomes text nodes: nothing here reads markup.

const gallery = (() => {
  const waiting = new Map();
  const loaded = new Map();
  const KEPT = 24; // files of data, the last ones used
  const BITMAP = document.currentScript.dataset.bitmap;

  function load(name) {
    if (loaded.has(name)) {
      const value = loaded.get(name);
      loaded.delete(name);
      loaded.set(name, value);
      return value;
    }
    const value = new Promise((done, failed) => {
      const script = document.createElement("script");
      waiting.set(name, done);
      script.onload = script.onerror = () => {
        script.remove();
        if (waiting.delete(name)) {
          loaded.delete(name);
          failed(new Error(`data/${name}.js cannot be read`));
        }
      };
      script.src = `data/${name}.js`;
      document.head.append(script);
    });
    loaded.set(name, value);
    if (loaded.size > KEPT) loaded.delete(loaded.keys().next().value);
    return value;
  }

  function received(name, value) {
    const done = waiting.get(name);
    waiting.delete(name);
    if (done) done(value);
  }

  function element(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value !== undefined && value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children.filter((child) => child !== undefined && child !== null && child !== ""));
    return made;
  }

  // A foreign text, in its own direction.
  const foreign = (text) => element("bdi", {}, text);

  function picture(shown, id) {
    const none = () => element("span", { class: "picture none" }, "no picture");
    const source = shown.picture ? `pictures/${shown.picture}` : shown.pixels ? `data:image/bmp;base64,${BITMAP}${shown.pixels}` : null;
    if (source === null) return none();
    const made = element("img", { class: "picture", loading: "lazy", width: 152, height: 152, alt: `Image of ${id}`, src: source });
    made.addEventListener("error", () => made.replaceWith(none()), { once: true });
    return made;
  }

  const number = (value) => value.toLocaleString("en");
  const score = (value) => value.toFixed(4);
  const fileNumber = (kind, at) => `${kind}-${String(at).padStart(6, "0")}`;

  // j and k, or the arrows to the sides, go from one card to the next; n and p turn the page.
  function keys(cards, more) {
    document.addEventListener("keydown", (event) => {
      const typing = event.target.closest("input:not([type=checkbox]), textarea, select");
      if (event.ctrlKey || event.metaKey || event.altKey || typing) return;
      const step = { j: 1, ArrowRight: 1, k: -1, ArrowLeft: -1 }[event.key];
      const action = more[event.key];
      const all = [...cards()];
      const here = all.findIndex((card) => card.contains(document.activeElement));
      if (step && all.length) {
        const next = all[here < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, here + step))];
        next.focus();
        next.scrollIntoView({ block: "nearest" });
        event.preventDefault();
      } else if (action) {
        action(all[here]);
        event.preventDefault();
      }
    });
  }

  // Previous, next, and a page by its number, around the pages 1 to `last`.
  function pager(where, page, last, address) {
    const link = (to, text, name) =>
      to < 1 || to > last || to === page ? null : element("a", { href: address(to), rel: name }, text);
    const input = element("input", { type: "number", min: 1, max: last, value: page, "aria-label": "Page" });
    const form = element("form", {}, "page ", input, ` of ${number(last)} `, element("button", {}, "Go"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      location.hash = address(Math.min(last, Math.max(1, Math.floor(Number(input.value)) || 1)));
    });
    const parts = [link(1, "First"), link(page - 1, "Previous", "prev"), form, link(page + 1, "Next", "next"), link(last, "Last")];
    where.replaceChildren(...(last > 1 ? parts.filter(Boolean) : []));
  }

  function turn(which) {
    const link = document.querySelector(`.pager a[rel=${which}]`);
    if (link) location.hash = link.getAttribute("href");
  }

  // A new page begins at its top; the reader's place in the order of focus is its status line.
  function arrive(status) {
    window.scrollTo(0, 0);
    status.focus({ preventScroll: true });
  }

  // The part of the address behind # is the page's own.
  document.addEventListener("click", (event) => {
    if (event.target.matches(".skip")) {
      event.preventDefault();
      document.getElementById("main").focus();
    }
  });

  const ready = (what) => {
    document.documentElement.dataset.ready = what;
    performance.mark("gallery-ready");
  };

  return { load, received, element, foreign, picture, number, score, fileNumber, keys, pager, turn, arrive, ready };
})();

function galleryData(name, value) {
  gallery.received(name, value);
}
