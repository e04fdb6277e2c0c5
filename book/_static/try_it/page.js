// The page "Try it": what the reader chooses goes through network.js, and the answer is shown.
"use strict";

(() => {
  const page = document.getElementById("try-it");
  const part = (name) => page.querySelector(`[data-part="${name}"]`);
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);
  const percent = (share) => `${Math.round(100 * share)} %`;
  const folder = document.currentScript.src.replace(/[^/]*$/, "");

  const { images, name: shipped } = tryIt;
  const classes = images.classes;
  const queries = Uint8Array.from(atob(images.pixels), (character) => character.charCodeAt(0));
  let model = null;
  const SIDE = 28, SHOWN = 20, BUCKETS = 12;
  const blank = () => new Uint8Array(SIDE * SIDE);

  // Which image of its class, and so where on its sheet, is image k of the database?
  const seen = new Array(classes.length).fill(0);
  const places = images.labels.map((label) => seen[label]++);

  const state = { pixels: blank(), name: "", label: null, answer: null, code: [], position: 24 };

  // The model's script is loaded when a first picture is there: the page itself is seen before.
  function load() {
    if (model) return Promise.resolve(model);
    return new Promise((resolve, reject) => {
      const script = make("script", { src: `${folder}${shipped}.js` });
      script.onload = () => resolve((model = dhida.unpack(tryIt.model.card, tryIt.model.weights)));
      script.onerror = () => reject(new Error(`the file ${shipped}.js is missing`));
      document.head.append(script);
    });
  }

  // ---- pictures ----------------------------------------------------------------------------------------

  function paint(canvas, pixels, colour = (value) => [value, value, value]) {
    const context = canvas.getContext("2d");
    const picture = context.createImageData(canvas.width, canvas.height);
    pixels.forEach((value, k) => picture.data.set([...colour(value), 255], 4 * k));
    context.putImageData(picture, 0, 0);
  }

  // An image of the database: a window on the sheet of its class.
  function thumbnail(item) {
    const label = images.labels[item], place = places[item];
    const row = Math.floor(place / images.columns), column = place % images.columns;
    const rows = Math.ceil(seen[label] / images.columns);
    const picture = make("span", { class: "sheet", role: "img", "aria-label": `database image ${item}, ${classes[label]}` });
    picture.style.backgroundImage = `url("${folder}database-${label}.webp")`;
    picture.style.backgroundSize = `${100 * images.columns}% ${100 * rows}%`;
    picture.style.backgroundPosition = `${(100 * column) / (images.columns - 1)}% ${rows > 1 ? (100 * row) / (rows - 1) : 0}%`;
    return picture;
  }

  // ---- the answer --------------------------------------------------------------------------------------

  async function ask(pixels, name, label) {
    Object.assign(state, { pixels, name, label });
    part("class").value = label === null ? "" : String(label);
    await answer();
  }

  async function answer() {
    const network = await load();
    const start = performance.now();
    state.answer = dhida.forward(network, state.pixels);
    state.code = [...state.answer.code];
    state.milliseconds = performance.now() - start;
    paint(part("query"), state.pixels);
    part("query").setAttribute("aria-label", `The query: ${state.name}`);
    part("name").textContent = state.name;
    showBits();
    showAttention();
    showRanking();
    page.dataset.answered = String(Number(page.dataset.answered || 0) + 1);
  }

  function showBits() {
    const { u, f, code } = state.answer;
    const bits = u.map((value, k) => {
      const hidden = (text) => make("span", { class: "visually-hidden" }, text);
      const flipped = state.code[k] !== code[k];
      const bit = make("button", { type: "button", class: "bit", "aria-pressed": String(flipped) });
      const bar = make("span", { class: "bar" });
      bar.style.setProperty("--f", f[k]);
      bit.append(hidden(`Bit ${k + 1}: `), make("b", {}, state.code[k] > 0 ? "+1" : "−1"), hidden(", output "), bar,
        make("small", {}, signed(value)), hidden(flipped ? ", flipped by you" : ""));
      bit.addEventListener("click", () => {
        state.code[k] *= -1;
        showBits();
        showRanking();
        part("bits").children[k].focus();
      });
      return bit;
    });
    part("bits").replaceChildren(...bits);
    part("restore").disabled = state.code.every((bit, k) => bit === code[k]);
    const rows = u.map((value, k) => make("tr", {}, make("th", { scope: "row" }, String(k + 1)),
      ...[signed(value), signed(f[k]), state.code[k] > 0 ? "+1" : "−1"].map((text) => make("td", {}, text))));
    part("numbers").replaceChildren(...rows);
  }

  function showAttention() {
    const { position, rows, columns, channel, channels } = state.answer;
    const { alpha, beta } = model.card;
    const n = rows * columns, j = state.position;
    const weights = position.subarray(j * n, (j + 1) * n);
    const shade = (top) => (value) => {
      const share = value / top;
      return [Math.round(255 * share), Math.round(40 + 170 * share), Math.round(110 * (1 - share))];
    };
    paint(part("position"), weights, shade(Math.max(...weights)));
    paint(part("channel"), channel, shade(Math.max(...channel)));
    const marker = part("marker");
    marker.style.left = `${(100 * (j % columns)) / columns}%`;
    marker.style.top = `${(100 * Math.floor(j / columns)) / rows}%`;
    const place = (k) => `row ${Math.floor(k / columns) + 1}, column ${(k % columns) + 1}`;
    const spread = 1 / weights.reduce((sum, p) => sum + p * p, 0);
    const most = weights.indexOf(Math.max(...weights));
    const words = `The position in ${place(j)} looks most at ${place(most)} (${percent(weights[most])}). ` +
      `Its attention spreads over as much as ${spread.toFixed(1)} of ${n} positions.`;
    part("where").setAttribute("aria-valuetext", place(j));
    part("where").value = j;
    part("position-words").textContent = words;
    const spreads = Array.from({ length: channels }, (_, k) =>
      1 / channel.subarray(k * channels, (k + 1) * channels).reduce((sum, p) => sum + p * p, 0));
    const mean = spreads.reduce((a, b) => a + b) / channels;
    part("channel-words").textContent =
      `A row for each of the ${channels} channels: from where it takes its weighted sum, on average over as much as ` +
      `${mean.toFixed(1)} channels. The network adds the position branch with α = ${signed(alpha)} and the channel ` +
      `branch with β = ${signed(beta)}.`;
  }

  // One image found, with its distance; right and wrong differ by sign, word and line, not only by colour.
  function found(item, distance) {
    const label = images.labels[item];
    const verdict = state.label === null ? "" : label === state.label ? "right" : "wrong";
    const mark = { "": "", right: "✓ ", wrong: "✗ " }[verdict];
    const hidden = verdict && make("span", { class: "visually-hidden" }, `, ${verdict}`);
    return make("li", { class: `found ${verdict}` }, thumbnail(item),
      make("span", {}, mark + classes[label], hidden), make("small", {}, `distance ${distance}`));
  }

  function showRanking() {
    const card = model.card;
    const start = performance.now();
    const code = dhida.pack(state.code);
    const { order, distances } = dhida.rank(code, card.codes);
    state.ranking = { order, distances };
    const time = performance.now() - start;
    const first = order.slice(0, SHOWN);
    part("ranking").replaceChildren(...first.map((item) => found(item, distances[item])));
    const right = first.filter((item) => images.labels[item] === state.label).length;
    const verdict = state.label === null ? "Choose the class of your picture to see which are right." :
      `${right} of the first ${SHOWN} are of the query's class, ${classes[state.label]}.`;
    part("verdict").textContent = verdict;
    part("time").textContent = `The network took ${Math.round(state.milliseconds)} ms, the comparison with ` +
      `${distances.length.toLocaleString("en")} codes ${time.toFixed(1)} ms.`;
    showRadius();
  }

  function showRadius() {
    const radius = Number(part("radius").value);
    const { order, distances } = state.ranking;
    const codes = model.card.codes;
    const inside = order.filter((item) => distances[item] <= radius);
    part("radius").setAttribute("aria-valuetext", `radius ${radius}`);
    part("radius-value").textContent = radius;
    let words = `${inside.length} of ${distances.length.toLocaleString("en")} images lie within distance ${radius}.`;
    if (state.label !== null && inside.length) {
      const right = inside.filter((item) => images.labels[item] === state.label).length;
      const all = images.labels.filter((label) => label === state.label).length;
      words += ` Precision: ${percent(right / inside.length)} of them are of class ${classes[state.label]}.` +
        ` Recall: ${percent(right / all)} of that class is among them.`;
    }
    const buckets = new Map();
    for (const item of inside) buckets.set(codes[item], [...(buckets.get(codes[item]) || []), item]);
    part("radius-words").textContent = `${words} They share ${buckets.size} different ${buckets.size === 1 ? "code" : "codes"}.`;
    const rows = [...buckets].slice(0, BUCKETS).map(([code, items]) => {
      const counts = classes.map((name, label) => [items.filter((k) => images.labels[k] === label).length, name]);
      const content = counts.filter(([count]) => count).sort((a, b) => b[0] - a[0]).map(([count, name]) => `${count} ${name}`);
      const text = dhida.unpackCode(code, state.code.length).map((bit) => (bit > 0 ? "+" : "−")).join("");
      return make("tr", {}, make("td", {}, thumbnail(items[0])), make("td", {}, make("code", {}, text)),
        make("td", {}, String(distances[items[0]])), make("td", {}, String(items.length)), make("td", {}, content.join(", ")));
    });
    part("buckets").replaceChildren(...rows);
    part("more-buckets").textContent = buckets.size > BUCKETS ? `${buckets.size - BUCKETS} more buckets are not shown.` : "";
  }

  // ---- three ways to a picture -------------------------------------------------------------------------

  function shelf() {
    const label = Number(part("shelf-class").value);
    const chosen = images.queries.labels.flatMap((own, k) => (own === label ? [k] : []));
    part("shelf").replaceChildren(...chosen.map((k, count) => {
      const pixels = queries.slice(k * SIDE * SIDE, (k + 1) * SIDE * SIDE);
      const name = `${classes[label]}, query ${images.queries.rows[k]}`;
      const canvas = make("canvas", { width: SIDE, height: SIDE, "aria-hidden": "true" });
      paint(canvas, pixels);
      const button = make("button", { type: "button", "aria-label": `Ask with ${classes[label]} number ${count + 1}` }, canvas);
      button.addEventListener("click", () => ask(pixels, name, label));
      return button;
    }));
  }

  const drawing = { pixels: blank(), at: [14, 14], pending: null };

  function dot(x, y) {
    for (let row = 0; row < SIDE; row++) {
      for (let column = 0; column < SIDE; column++) {
        const distance = Math.hypot(column - x, row - y);
        const ink = Math.round(230 * Math.min(1, Math.max(0, 2 - distance)));
        const k = row * SIDE + column;
        drawing.pixels[k] = Math.max(drawing.pixels[k], ink);
      }
    }
    paint(part("canvas"), drawing.pixels);
    clearTimeout(drawing.pending);
    drawing.pending = setTimeout(() => ask(drawing.pixels.slice(), "your drawing", chosenClass()), 150);
  }

  const chosenClass = () => (part("class").value === "" ? null : Number(part("class").value));

  function cursor() {
    const [x, y] = drawing.at;
    part("cursor").style.left = `${(100 * x) / SIDE}%`;
    part("cursor").style.top = `${(100 * y) / SIDE}%`;
  }

  function prepareDrawing() {
    const canvas = part("canvas");
    const point = (event) => {
      const box = canvas.getBoundingClientRect();
      return [((event.clientX - box.left) / box.width) * SIDE - 0.5, ((event.clientY - box.top) / box.height) * SIDE - 0.5];
    };
    canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); dot(...point(event)); });
    canvas.addEventListener("pointermove", (event) => { if (event.buttons) dot(...point(event)); });
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (step) drawing.at = drawing.at.map((value, k) => Math.min(SIDE - 1, Math.max(0, value + step[k])));
      if (event.key === " " || (step && event.shiftKey)) dot(...drawing.at);
      if (step || event.key === " ") event.preventDefault();
      cursor();
      if (step) part("drawing-words").textContent = `row ${drawing.at[1] + 1}, column ${drawing.at[0] + 1}`;
    });
    part("clear").addEventListener("click", () => {
      drawing.pixels = blank();
      paint(canvas, drawing.pixels);
    });
    cursor();
    paint(canvas, drawing.pixels);
  }

  // A photograph as the data set keeps images: the middle square, small, grey, a light thing on black.
  async function fromFile(file) {
    if (!file) return;
    try {
      const bitmap = await createImageBitmap(file);
      const side = Math.min(bitmap.width, bitmap.height);
      let square = make("canvas", { width: side, height: side });
      square.getContext("2d").drawImage(bitmap, (side - bitmap.width) / 2, (side - bitmap.height) / 2);
      for (let size = side; size > SIDE;) { // by halves, so that no pixel is passed over
        size = Math.max(SIDE, Math.ceil(size / 2));
        const smaller = make("canvas", { width: size, height: size });
        smaller.getContext("2d").drawImage(square, 0, 0, size, size);
        square = smaller;
      }
      const small = make("canvas", { width: SIDE, height: SIDE });
      small.getContext("2d").drawImage(square, 0, 0, SIDE, SIDE);
      const { data } = small.getContext("2d").getImageData(0, 0, SIDE, SIDE);
      const grey = Uint8Array.from({ length: SIDE * SIDE }, (_, k) => {
        const [red, green, blue, opaque] = data.subarray(4 * k, 4 * k + 4);
        return Math.round(((0.299 * red + 0.587 * green + 0.114 * blue) * opaque) / 255);
      });
      const edge = [...grey].filter((_, k) => k < SIDE || k >= SIDE * (SIDE - 1) || k % SIDE === 0 || k % SIDE === SIDE - 1);
      const light = edge.reduce((a, b) => a + b) / edge.length > 127;
      const pixels = light ? grey.map((value) => 255 - value) : grey;
      part("file-words").textContent = light ? "Its ground is light, so it was inverted." : "Its ground is dark; it was taken as it is.";
      await ask(pixels, `your picture ${file.name || ""}`.trim(), chosenClass());
    } catch {
      part("file-words").textContent = "The browser cannot read this file as a picture. Try a PNG, JPEG or WebP.";
    }
  }

  function prepareFile() {
    const zone = part("drop");
    part("file").addEventListener("change", (event) => fromFile(event.target.files[0]));
    zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
    zone.addEventListener("dragleave", () => zone.classList.remove("over"));
    zone.addEventListener("drop", (event) => {
      event.preventDefault();
      zone.classList.remove("over");
      fromFile(event.dataTransfer.files[0]);
    });
  }

  // ---- start -------------------------------------------------------------------------------------------

  function prepare() {
    for (const name of ["shelf-class", "class"])
      part(name).append(...classes.map((label, k) => make("option", { value: String(k) }, label)));
    part("shelf-class").addEventListener("change", shelf);
    part("class").addEventListener("change", () => {
      state.label = chosenClass();
      showRanking();
    });
    part("restore").addEventListener("click", () => {
      state.code = [...state.answer.code];
      showBits();
      showRanking();
    });
    part("where").addEventListener("input", (event) => { state.position = Number(event.target.value); showAttention(); });
    part("map").addEventListener("click", (event) => {
      const box = part("map").getBoundingClientRect(), { rows, columns } = state.answer;
      const at = (share, count) => Math.min(count - 1, Math.max(0, Math.floor(share * count)));
      state.position = at((event.clientY - box.top) / box.height, rows) * columns + at((event.clientX - box.left) / box.width, columns);
      showAttention();
    });
    part("radius").addEventListener("input", showRadius);
    prepareDrawing();
    prepareFile();
    shelf();
    part("main").hidden = false;
    part("shelf").querySelector("button").click();
  }

  prepare();
  window.tryItPage = { ask, state, load };
})();
