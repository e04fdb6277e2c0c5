// The network of the book in JavaScript, forward only: the same steps, under the same names, as
// dhida_lib/backbones/narrow.py, dhida_lib/attention.py and dhida_lib/models.py. Nothing else is needed, and
// nothing is loaded. tools/try_it.py writes the weights; there the batch norms, which are fixed after training,
// are already multiplied into the convolutions before them.
//
// A map is {c, h, w, data}: c channels of h rows and w columns, one after the other in `data`.
"use strict";

const dhida = (() => {
  // The weights as they come (base64 of float32, low byte first) as one array for each name.
  function unpack(card, base64) {
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    const weights = {};
    let at = 0;
    for (const [name, shape] of card.tensors) {
      const size = shape.reduce((product, n) => product * n, 1);
      const data = new Float64Array(size);
      for (let k = 0; k < size; k++) data[k] = view.getFloat32(4 * (at + k), true);
      weights[name] = { shape, data };
      at += size;
    }
    return { card, weights };
  }

  // A convolution of odd width with zeros around the map: c×h×w → o×⌈h/stride⌉×⌈w/stride⌉.
  function convolve(x, model, name, stride = 1) {
    const { shape: [o, c, k], data: weight } = model.weights[name + ".weight"];
    const bias = model.weights[name + ".bias"].data;
    const pad = (k - 1) / 2;
    const h = Math.ceil(x.h / stride), w = Math.ceil(x.w / stride);
    const y = { c: o, h, w, data: new Float64Array(o * h * w) };
    for (let out = 0; out < o; out++) {
      const start = out * h * w;
      y.data.fill(bias[out], start, start + h * w);
      for (let into = 0; into < c; into++) {
        for (let dy = 0; dy < k; dy++) {
          for (let dx = 0; dx < k; dx++) {
            const factor = weight[((out * c + into) * k + dy) * k + dx];
            // The columns whose pixel lies inside the map; behind the rest are the zeros.
            const first = Math.max(0, Math.ceil((pad - dx) / stride));
            const last = Math.min(w, Math.ceil((x.w + pad - dx) / stride));
            for (let row = 0; row < h; row++) {
              const from = row * stride + dy - pad;
              if (from < 0 || from >= x.h) continue;
              let at = (into * x.h + from) * x.w + first * stride + dx - pad;
              for (let to = start + row * w + first; to < start + row * w + last; to++, at += stride) {
                y.data[to] += factor * x.data[at];
              }
            }
          }
        }
      }
    }
    return y;
  }

  const like = (x, data) => ({ c: x.c, h: x.h, w: x.w, data });
  const relu = (x) => like(x, x.data.map((value) => Math.max(value, 0)));
  const add = (x, y) => like(x, x.data.map((value, k) => value + y.data[k]));

  // Two convolutions and a way around them.
  function block(x, model, name, stride) {
    const y = convolve(relu(convolve(x, model, name + ".conv1", stride)), model, name + ".conv2");
    const around = model.weights[name + ".shortcut.weight"] ? convolve(x, model, name + ".shortcut", stride) : x;
    return relu(add(y, around));
  }

  // Inner products of all columns of X (d×n) with all columns of Y (d×m), row by row: n×m.
  function products(X, Y, d, n, m) {
    const M = new Float64Array(n * m);
    for (let k = 0; k < d; k++)
      for (let i = 0; i < n; i++)
        for (let j = 0; j < m; j++) M[i * m + j] += X[k * n + i] * Y[k * m + j];
    return M;
  }

  // Eq. 3 and 4 (or 6 and 7): (max + mean)/2 − M, then softmax over i for each j. P[j * n + i] = P_ji.
  function softmaxOfImproved(M, n, reduce) {
    const line = (k, along) => Array.from({ length: n }, (_, i) => M[along === "column" ? i * n + k : k * n + i]);
    const level = Array.from({ length: n }, (_, k) => {
      const values = line(k, reduce);
      return (Math.max(...values) + values.reduce((a, b) => a + b) / n) / 2;
    });
    const P = new Float64Array(n * n);
    for (let j = 0; j < n; j++) {
      const improved = line(j, "column").map((value, i) => level[reduce === "column" ? j : i] - value);
      const top = Math.max(...improved);
      const powers = improved.map((value) => Math.exp(value - top));
      const sum = powers.reduce((a, b) => a + b);
      powers.forEach((value, i) => { P[j * n + i] = value / sum; });
    }
    return P;
  }

  // The IDA module: both branches on the same map A, then their sum. Returns E and the two attention maps.
  function attend(A, model) {
    const { reduce, alpha, beta, fusion } = model.card;
    const n = A.h * A.w, c = A.c;
    const B = convolve(A, model, "query").data, C = convolve(A, model, "key").data;
    const D = convolve(A, model, "value").data;
    const P = softmaxOfImproved(products(B, C, c, n, n), n, reduce); // n×n
    const transposed = new Float64Array(n * c);
    for (let k = 0; k < c; k++) for (let i = 0; i < n; i++) transposed[i * c + k] = A.data[k * n + i];
    const X = softmaxOfImproved(products(transposed, transposed, n, c, c), c, reduce); // c×c
    const E = like(A, new Float64Array(c * n));
    for (let k = 0; k < c; k++) {
      for (let j = 0; j < n; j++) {
        let position = 0, channel = 0;
        for (let i = 0; i < n; i++) position += P[j * n + i] * D[k * n + i]; // Eq. 5
        for (let i = 0; i < c; i++) channel += X[k * c + i] * A.data[i * n + j]; // Eq. 8
        const sum = alpha * position + beta * channel + 2 * A.data[k * n + j];
        E.data[k * n + j] = fusion === "mean" ? sum / 2 : sum;
      }
    }
    return { E, P, X };
  }

  // Pixels (bytes, side×side) → outputs u, f(u), the bits (±1) and both attention maps.
  function forward(model, pixels) {
    const { side, mean, std } = model.card;
    const x = { c: 1, h: side, w: side, data: Float64Array.from(pixels, (value) => (value / 255 - mean) / std) };
    let A = relu(convolve(x, model, "stem"));
    A = block(A, model, "block1", 1);
    A = block(A, model, "block2", 2);
    A = block(A, model, "block3", 2);
    A = block(A, model, "block4", 1);
    const { E, P, X } = attend(A, model);
    const n = A.h * A.w;
    const psi = Array.from({ length: A.c }, (_, k) => E.data.subarray(k * n, (k + 1) * n).reduce((a, b) => a + b) / n);
    const { shape: [bits], data: W } = model.weights["hash.weight"];
    const b = model.weights["hash.bias"].data;
    const u = Array.from({ length: bits }, (_, k) => psi.reduce((sum, value, i) => sum + W[k * A.c + i] * value, b[k]));
    return {
      u, // Eq. 14
      f: u.map((value) => Math.min(1, Math.max(-1, value))), // Eq. 1
      code: u.map((value) => (value >= 0 ? 1 : -1)), // Eq. 15
      position: P, rows: A.h, columns: A.w,
      channel: X, channels: A.c,
    };
  }

  // Codes are kept as whole numbers: bit k of the number is 1 where the code has +1.
  const pack = (code) => code.reduce((number, bit, k) => (bit > 0 ? number | (1 << k) : number), 0);
  const unpackCode = (number, bits) => Array.from({ length: bits }, (_, k) => ((number >> k) & 1 ? 1 : -1));

  function hamming(a, b) {
    let different = a ^ b, count = 0;
    for (; different; different &= different - 1) count++;
    return count;
  }

  // All items of the database, nearest first; equal distances keep the order of the database.
  function rank(code, database) {
    const distances = Array.from(database, (other) => hamming(code, other));
    const order = distances.map((_, k) => k).sort((a, b) => distances[a] - distances[b] || a - b);
    return { order, distances };
  }

  return { unpack, forward, pack, unpackCode, hamming, rank };
})();
if (typeof module !== "undefined") module.exports = dhida;
