"use strict";
// Shows the values under the pointer. Charts of one group show the place together.
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const spoken = (value, unit) =>
    value === null ? "–" : `${(value >= 100 ? Math.round(value) : value).toLocaleString("en", { maximumSignificantDigits: value >= 100 ? 15 : 3 })} ${unit}`;
  const plots = [...document.querySelectorAll("[data-chart]")].map((box) => {
    const data = JSON.parse(box.dataset.chart);
    const svg = box.querySelector("svg");
    const rule = document.createElementNS(SVG, "line");
    rule.setAttribute("y1", "0");
    rule.setAttribute("y2", "100%");
    rule.setAttribute("class", "pointer");
    const tip = document.createElement("div");
    tip.className = "tip";
    tip.hidden = true;
    box.append(tip);
    return { box, data, svg, rule, tip };
  });
  const nearest = (at, share) =>
    at.reduce((best, x, i) => (Math.abs(x - share) < Math.abs(at[best] - share) ? i : best), 0);
  const mark = (plot, i) => {
    const x = `${plot.data.at[i] * 100}%`;
    plot.rule.setAttribute("x1", x);
    plot.rule.setAttribute("x2", x);
    plot.svg.append(plot.rule);
  };
  const tell = (plot, i) => {
    const { tip, data } = plot;
    const head = document.createElement("b");
    head.textContent = data.names[i];
    const rows = data.series.map((one) => {
      const row = document.createElement("div");
      const swatch = document.createElement("i");
      swatch.className = `swatch t-${one.tone}`;
      const name = document.createElement("span");
      name.textContent = one.name;
      const value = document.createElement("em");
      value.textContent = spoken(one.values[i], data.unit);
      row.append(swatch, name, value);
      return row;
    });
    tip.replaceChildren(head, ...rows);
    tip.hidden = false;
    const right = data.at[i] > 0.55;
    tip.style.left = right ? "auto" : `calc(${data.at[i] * 100}% + 10px)`;
    tip.style.right = right ? `calc(${(1 - data.at[i]) * 100}% + 10px)` : "auto";
  };
  for (const plot of plots) {
    const together = plots.filter((other) => other === plot || (plot.box.dataset.group && other.box.dataset.group === plot.box.dataset.group));
    plot.box.addEventListener("pointermove", (event) => {
      const area = plot.svg.getBoundingClientRect();
      const i = nearest(plot.data.at, (event.clientX - area.left) / area.width);
      together.forEach((other) => mark(other, i));
      tell(plot, i);
    });
    plot.box.addEventListener("pointerleave", () => {
      together.forEach((other) => other.rule.remove());
      plot.tip.hidden = true;
    });
  }
})();
