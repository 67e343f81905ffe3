"use strict";
const drawing = document.querySelector("svg.memos");
const note = document.getElementById("note");
const [heading, text, about] = note.children;

function place(x, y) {
  const edge = 12;
  const room = { x: innerWidth - note.offsetWidth - edge, y: innerHeight - note.offsetHeight - edge };
  note.style.left = Math.max(edge, Math.min(x + 16, room.x)) + "px";
  note.style.top = Math.max(edge, Math.min(y + 16, room.y)) + "px";
}

function show(card, x, y) {
  hide();
  const id = card.dataset.id;
  const near = new Set([id]);
  for (const link of drawing.querySelectorAll(".link[data-from]")) {
    if (link.dataset.from === id || link.dataset.to === id) {
      near.add(link.dataset.from).add(link.dataset.to);
      link.classList.add("lit");
    }
  }
  for (const other of drawing.querySelectorAll(".card[data-id]")) {
    other.classList.toggle("lit", near.has(other.dataset.id));
  }
  drawing.classList.add("pointing");
  heading.textContent = card.dataset.name;
  text.textContent = card.dataset.text;
  about.textContent = card.dataset.about;
  note.hidden = false;
  place(x, y);
}

function hide() {
  note.hidden = true;
  drawing.classList.remove("pointing");
  drawing.querySelectorAll(".lit").forEach((part) => part.classList.remove("lit"));
}

for (const card of drawing.querySelectorAll(".card[data-id]")) {
  card.addEventListener("pointerenter", (event) => show(card, event.clientX, event.clientY));
  card.addEventListener("pointermove", (event) => place(event.clientX, event.clientY));
  card.addEventListener("pointerleave", hide);
  card.addEventListener("focus", () => {
    const box = card.getBoundingClientRect();
    show(card, box.left, box.bottom);
  });
  card.addEventListener("blur", hide);
}
