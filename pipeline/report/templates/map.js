// Maps are complete without this; it shows the image under the pointer, or the one that arrow keys lead to,
// and lets colours follow the clusters instead of the labels.
const mapped = document.getElementById("mapped");
const images = mapped ? JSON.parse(mapped.textContent) : [];

for (const plane of document.querySelectorAll(".plane")) {
  const tip = plane.querySelector(".tip");
  const thumbnail = document.createElement("img");
  thumbnail.alt = "";
  tip.prepend(thumbnail);
  const points = [...plane.querySelectorAll("circle")];
  let shown = null;

  const hide = () => {
    shown?.classList.remove("shown");
    shown = null;
    tip.hidden = true;
  };
  const show = (point) => {
    shown?.classList.remove("shown");
    shown = point;
    shown.classList.add("shown");
    const image = images[point.dataset.image];
    thumbnail.src = image.thumbnail;
    const known = [image.label, image.cluster === null ? null : `cluster ${image.cluster}`];
    tip.querySelector("span").textContent = known.filter((text) => text !== null).join(", ");
    tip.hidden = false;
    const box = plane.getBoundingClientRect();
    const at = point.getBoundingClientRect();
    const left = at.left - box.left + at.width / 2;
    const above = at.top - box.top > tip.offsetHeight + 12;
    tip.style.left = `${Math.max(0, Math.min(box.width - tip.offsetWidth, left - tip.offsetWidth / 2))}px`;
    tip.style.top = above ? `${at.top - box.top - tip.offsetHeight - 6}px` : `${at.bottom - box.top + 6}px`;
  };
  const place = (point) => [Number(point.getAttribute("cx")), Number(point.getAttribute("cy"))];
  const nextTowards = (dx, dy) => {
    const [x, y] = place(shown);
    let best = null;
    let least = Infinity;
    for (const point of points) {
      const [px, py] = place(point);
      const along = (px - x) * dx + (py - y) * dy;
      const aside = Math.abs((px - x) * dy) + Math.abs((py - y) * dx);
      const cost = along + 2 * aside;
      if (along > 0 && cost < least) [best, least] = [point, cost];
    }
    return best;
  };
  const directions = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  plane.addEventListener("pointerover", (event) => event.target.matches("circle") && show(event.target));
  plane.addEventListener("pointerleave", hide);
  plane.addEventListener("focus", () => shown ?? show(points[0]));
  plane.addEventListener("blur", hide);
  plane.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return hide();
    if (!(event.key in directions)) return;
    event.preventDefault();
    const next = shown ? nextTowards(...directions[event.key]) : points[0];
    if (next) show(next);
  });
}

for (const choice of document.querySelectorAll(".colouring")) {
  choice.hidden = false;
  choice.addEventListener("change", (event) => {
    const by = event.target.value;
    for (const point of document.querySelectorAll(".plane circle")) point.setAttribute("class", `g${point.dataset[by]}`);
    for (const legend of document.querySelectorAll(".legend")) legend.hidden = legend.dataset.of !== by;
  });
}
