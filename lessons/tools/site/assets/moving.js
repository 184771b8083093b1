/* What moves in the reading copy: pictures drawn in advance, and words of a story that open to what else could come. */
"use strict";

for (const box of document.querySelectorAll(".moving")) {
  const image = box.querySelector("img");
  const sliders = [...box.querySelectorAll("input")];
  const alts = JSON.parse(box.dataset.alts);
  const folder = image.src.slice(0, image.src.lastIndexOf("/") + 1);
  for (const slider of sliders)
    slider.addEventListener("input", () => {
      slider.parentElement.querySelector("output").textContent = JSON.parse(slider.dataset.values)[slider.value];
      const file = [box.dataset.name, ...sliders.map((one) => one.value)].join("_") + ".png";
      image.src = folder + file;
      image.alt = alts[file];
    });
}

/* Show a word's choices below it, within the page's width. */
function openWord(word) {
  const pop = document.createElement("div");
  pop.className = "story-choices";
  pop.setAttribute("role", "note");
  pop.textContent = word.dataset.choices;
  document.body.append(pop);
  const place = word.getBoundingClientRect();
  const widest = document.documentElement.clientWidth - pop.offsetWidth - 8;
  pop.style.left = `${Math.max(8, Math.min(place.left, widest)) + scrollX}px`;
  pop.style.top = `${place.bottom + 4 + scrollY}px`;
}

function closeWords() {
  for (const pop of document.querySelectorAll(".story-choices")) pop.remove();
}

for (const word of document.querySelectorAll(".story span[title]")) {
  word.dataset.choices = word.title;
  word.removeAttribute("title");
  word.tabIndex = 0;
  word.addEventListener("focus", () => openWord(word));
  word.addEventListener("blur", closeWords);
  word.addEventListener("keydown", (event) => event.key === "Escape" && closeWords());
}
