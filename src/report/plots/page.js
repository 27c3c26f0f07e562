// Values under the mouse. The page is complete without this.
"use strict";
const most = 10;
const cut = (text) => text.length > 60 ? text.slice(0, 59) + "…" : text;
const place = (ends, value) => ends[1] + (value - ends[0]) / (ends[2] - ends[0]) * (ends[3] - ends[1]);
const add = (parent, name, attributes, space) => {
  const child = space ? document.createElementNS(space, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) child.setAttribute(key, value);
  return parent.appendChild(child);
};
// Lines go from left to right: the place of the nearest x.
const nearest = (list, x) => {
  let [low, high] = [0, list.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle] < x) low = middle + 1; else high = middle;
  }
  return low > 0 && x - list[low - 1] <= list[low] - x ? low - 1 : low;
};
for (const script of document.querySelectorAll("script.hover")) {
  const data = JSON.parse(script.textContent), panel = script.parentElement, svg = panel.querySelector("svg");
  const mark = add(svg, "g", { class: "mark" }, svg.namespaceURI);
  let tip = null;
  const leave = () => { mark.replaceChildren(); if (tip) tip.remove(); tip = null; };
  const find = (x, y) => {
    const found = [];
    if (data.nearest) {
      let best = 20;
      data.series.forEach((series) => series.x.forEach((_, n) => {
        const far = Math.hypot(place(data.x, series.x[n]) - x, place(data.y, series.y[n]) - y);
        if (far < best) { best = far; found[0] = { series, n }; }
      }));
      return found;
    }
    const value = data.x[0] + (x - data.x[1]) / (data.x[3] - data.x[1]) * (data.x[2] - data.x[0]);
    for (const series of data.series) {
      if (!series.x.length) continue;
      const n = nearest(series.x, value);
      found.push({ series, n, far: Math.abs(place(data.x, series.x[n]) - x) });
    }
    const best = Math.min(...found.map((one) => one.far));
    const here = found.filter((one) => one.far <= best + 6);
    // Of many lines, those nearest to the mouse.
    const height = (one) => Math.abs(place(data.y, one.series.y[one.n]) - y);
    return here.length > most ? here.sort((a, b) => height(a) - height(b)) : here;
  };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect(), zoom = svg.viewBox.baseVal.width / box.width;
    const found = find((event.clientX - box.left) * zoom, (event.clientY - box.top) * zoom);
    leave();
    if (!found.length) return;
    const at = place(data.x, found[0].series.x[found[0].n]);
    if (!data.nearest) add(mark, "line", { x1: at, x2: at, y1: data.top, y2: data.bottom }, svg.namespaceURI);
    tip = add(panel, "div", { class: "tip" });
    const x = found[0].series.x[found[0].n];
    add(tip, "div", {}).textContent = (data.label ? data.label + " " : "") + (data.words ? data.words[x] : x);
    for (const { series, n } of found.slice(0, most)) {
      const [cx, cy] = [place(data.x, series.x[n]), place(data.y, series.y[n])];
      add(mark, "circle", { cx, cy, r: 4.5, class: series.class }, svg.namespaceURI);
      const line = add(tip, "div", {});
      add(line, "i", { class: series.class });
      line.append(cut(series.name) + ": " + series.y[n]);
    }
    if (found.length > most) add(tip, "div", {}).textContent = "and " + (found.length - most) + " more";
    const left = svg.offsetLeft || 0, point = at / zoom;
    tip.style.top = (data.top / zoom + 4) + "px";
    if (point > box.width / 2) tip.style.right = (panel.clientWidth - left - point + 12) + "px";
    else tip.style.left = (left + point + 12) + "px";
  });
  svg.addEventListener("pointerleave", leave);
}
