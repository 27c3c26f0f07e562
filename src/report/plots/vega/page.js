// Draws the templates of the project.
"use strict";
(() => {
  // A picture may be part of a specification; anything else would have to be fetched.
  const inside = (uri) => /^data:image\//.test(uri) ? Promise.resolve({ href: uri }) : Promise.reject(Error("not in the page: " + uri));
  const loader = { load: (uri) => Promise.reject(Error("not in the page: " + uri)), sanitize: inside };
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const axes = { labelColor: colour("--soft"), titleColor: colour("--text"), gridColor: colour("--grid"), domainColor: colour("--axis"), tickColor: colour("--axis") };
  const look = {
    background: "transparent", axis: axes, title: { color: colour("--text") }, view: { stroke: colour("--grid") },
    legend: { labelColor: colour("--soft"), titleColor: colour("--text") }, header: { labelColor: colour("--soft"), titleColor: colour("--text") },
    text: { color: colour("--text") },
  };
  const draw = (script) => {
    const panel = script.parentElement;
    const place = panel.appendChild(document.createElement("div"));
    const fail = (error) => {
      const note = panel.appendChild(document.createElement("div"));
      note.className = "note";
      note.textContent = "The template cannot be drawn: " + (error && error.message || error);
    };
    try {
      const spec = JSON.parse(script.textContent);
      const isVega = /\/schema\/vega\//.test(spec.$schema || "");
      const full = isVega ? spec : vegaLite.compile(spec, { config: look }).spec;
      const parsed = vega.parse(full, isVega ? look : null, { ast: true });
      const view = new vega.View(parsed, { expr: vega.expressionInterpreter, renderer: "canvas", container: place, hover: true, loader });
      view.runAsync().catch(fail);
    } catch (error) { fail(error); }
  };
  for (const script of document.querySelectorAll("script.vega")) {
    // Inside a closed part of the page there is no width to fit.
    const fold = script.closest("details");
    if (fold) fold.addEventListener("toggle", () => draw(script), { once: true });
    else draw(script);
  }
})();
