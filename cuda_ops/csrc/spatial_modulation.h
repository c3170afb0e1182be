// Modulation by a style at each pixel: see cuda_ops/spatial_modulation_reference.py for the equations.
//
// With the weights normalised beforehand, y is x times an outer product of pixels and channels (outer_product.h). Here
// is what comes before it and after it: the norm, and from two sums of h = g x the gradients of weights and styles.
#pragma once

#include "outer_product.h"

namespace ganvas {

constexpr int GRAM_TILE = 64;  // pixels in shared memory

template <class A> GANVAS_BODY A inverse_root(A x) {
#ifdef __CUDA_ARCH__
  if constexpr (std::is_same_v<A, float>) return rsqrtf(x);
#endif
  return 1 / std::sqrt(x);
}

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// G = S S^T / C, [N, K, row] with rows padded to whole fours by zeros; a warp a row.
template <class A> struct Gram {
  const A* styles;  // [N, K, C]
  A* gram;
  int64_t k, channels, row;

  GANVAS_DEVICE void operator()(const Block& block) const {
    const int64_t sample = quotient(block.index, k);
    const A *one = styles + block.index * channels, *all = styles + sample * k * channels;
    GANVAS_ROLLED
    for (int64_t j = 0; j < row; ++j) {
      A sum = 0;
      for (int64_t c = block.thread; j < k && c < channels; c += WARP) sum += one[c] * all[j * channels + c];
      sum = warp_sum(block, sum) / static_cast<A>(channels);
      if (block.thread == 0) gram[block.index * row + j] = sum;
    }
  }
};

// The weights of four pixels, and G w, four rows at a time.
template <class A> struct PixelWeights {
  Values<A> weights;  // [N, K, P]
  const A* gram;      // [N, K, row]
  int64_t k, pixels, row;
  bool aligned;

  GANVAS_BODY int64_t groups() const { return (pixels + FAST - 1) / FAST; }

  GANVAS_DEVICE void load(int64_t sample, int64_t i, int64_t pixel, A (&to)[FAST]) const {
    weights.load4((sample * k + i) * pixels + pixel, pixels - pixel, aligned, to);
  }

  // Rows i .. i + 3 of G w.
  GANVAS_DEVICE void through_gram(int64_t sample, int64_t i, int64_t pixel, A (&to)[4][FAST]) const {
    GANVAS_UNROLL
    for (int r = 0; r < 4; ++r)
      GANVAS_UNROLL
      for (int p = 0; p < FAST; ++p) to[r][p] = 0;
    GANVAS_ROLLED
    for (int64_t j = 0; j < k; ++j) {
      A w[FAST], g[4];
      load(sample, j, pixel, w);
      load4(gram + (sample * k + j) * row + i, 4, true, g);  // symmetric
      GANVAS_UNROLL
      for (int r = 0; r < 4; ++r)
        GANVAS_UNROLL
        for (int p = 0; p < FAST; ++p) to[r][p] += g[r] * w[p];
    }
  }
};

// r = (w^T G w + eps)^(-1/2) and w r, for four pixels.
template <class A> struct NormaliseWeights {
  PixelWeights<A> w;
  A *inverse, *scaled;  // [N, P], [N, K, P]
  A eps;
  bool aligned;

  GANVAS_DEVICE void operator()(int64_t index) const {
    const int64_t sample = quotient(index, w.groups()), pixel = (index - sample * w.groups()) * FAST;
    A r[FAST] = {}, rows[4][FAST], one[FAST];
    GANVAS_ROLLED
    for (int64_t i = 0; i < w.k; i += 4) {
      w.through_gram(sample, i, pixel, rows);
      for (int j = 0; j < 4 && i + j < w.k; ++j) {
        w.load(sample, i + j, pixel, one);
        GANVAS_UNROLL
        for (int p = 0; p < FAST; ++p) r[p] += one[p] * rows[j][p];
      }
    }
    GANVAS_UNROLL
    for (int p = 0; p < FAST; ++p) r[p] = inverse_root((r[p] > 0 ? r[p] : 0) + eps);
    store4(inverse + sample * w.pixels + pixel, w.pixels - pixel, aligned, r);
    GANVAS_ROLLED
    for (int64_t i = 0; i < w.k; ++i) {
      w.load(sample, i, pixel, one);
      GANVAS_UNROLL
      for (int p = 0; p < FAST; ++p) one[p] *= r[p];
      store4(scaled + (sample * w.k + i) * w.pixels + pixel, w.pixels - pixel, aligned, one);
    }
  }
};

// dL/dw = r b + 2 dL/dq G w and dL/dq = -(w . b) r^3 / 2, for four pixels; b is the sum of its parts.
template <class A> struct FinishWeights {
  PixelWeights<A> w;
  const A *inverse, *b;  // [N, P], [N, parts, K, P]
  Values<A> of_weights;  // [N, K, P]
  A* of_q;               // [N, P]
  int64_t parts;
  bool aligned;

  GANVAS_DEVICE void load_b(int64_t sample, int64_t i, int64_t pixel, A (&to)[FAST]) const {
    GANVAS_UNROLL
    for (int p = 0; p < FAST; ++p) to[p] = 0;
    GANVAS_ROLLED
    for (int64_t part = 0; part < parts; ++part) {
      A more[FAST];
      load4(b + ((sample * parts + part) * w.k + i) * w.pixels + pixel, w.pixels - pixel, aligned, more);
      GANVAS_UNROLL
      for (int p = 0; p < FAST; ++p) to[p] += more[p];
    }
  }

  GANVAS_DEVICE void operator()(int64_t index) const {
    const int64_t sample = quotient(index, w.groups()), pixel = (index - sample * w.groups()) * FAST;
    A r[FAST], q[FAST] = {}, rows[4][FAST], one[FAST], ws[FAST];
    load4(inverse + sample * w.pixels + pixel, w.pixels - pixel, aligned, r);
    GANVAS_ROLLED
    for (int64_t i = 0; i < w.k; ++i) {
      w.load(sample, i, pixel, ws);
      load_b(sample, i, pixel, one);
      GANVAS_UNROLL
      for (int p = 0; p < FAST; ++p) q[p] += ws[p] * one[p];
    }
    GANVAS_UNROLL
    for (int p = 0; p < FAST; ++p) q[p] *= r[p] * r[p] * r[p] * A(-0.5);
    store4(of_q + sample * w.pixels + pixel, w.pixels - pixel, aligned, q);
    GANVAS_ROLLED
    for (int64_t i = 0; i < w.k; i += 4) {
      w.through_gram(sample, i, pixel, rows);
      for (int j = 0; j < 4 && i + j < w.k; ++j) {
        load_b(sample, i + j, pixel, one);
        GANVAS_UNROLL
        for (int p = 0; p < FAST; ++p) one[p] = r[p] * one[p] + 2 * q[p] * rows[j][p];
        of_weights.store4((sample * w.k + i + j) * w.pixels + pixel, w.pixels - pixel, w.aligned, one);
      }
    }
  }
};

// dG = sum_pixels dL/dq w w^T over a chunk of the pixels, [N, chunks, K, K]. A thread sums 4x4 of its elements.
template <class A> struct GramGradient {
  Values<A> weights;  // [N, K, P]
  const A* of_q;      // [N, P]
  A* of_gram;
  int64_t k, pixels, chunks, chunk;  // pixels of a chunk

  GANVAS_BODY int64_t side() const { return (k + 3) / 4; }
  GANVAS_BODY int64_t pitch() const { return GRAM_TILE + 1; }  // neighbouring maps lie in different banks
  int64_t memory(int threads) const { return ((4 * side() + 1) * pitch() + 16 * threads) * sizeof(A); }

  GANVAS_DEVICE void operator()(const Block& block) const {
    const int64_t sample = quotient(block.index, chunks), start = (block.index - sample * chunks) * chunk;
    const int64_t end = start + chunk < pixels ? start + chunk : pixels, tiles = side() * side();
    GANVAS_ROLLED
    for (int64_t first = 0; first < tiles; first += block.threads) {
      const int64_t here = tiles - first < block.threads ? tiles - first : block.threads;
      tile_sums(block, sample, start, end, first, here);
    }
  }

  // Tiles first .. first + here - 1 of dG, with as many threads for each as there are.
  GANVAS_DEVICE void tile_sums(const Block& block, int64_t sample, int64_t start, int64_t end, int64_t first,
                               int64_t here) const {
    A* w = reinterpret_cast<A*>(block.memory);  // [4 side, pitch], then dL/dq in a row of its own, then the sums
    A *q = w + 4 * side() * pitch(), *sums = q + pitch();
    const int helpers = static_cast<int>(block.threads / here), helper = static_cast<int>(block.thread / here);
    const int64_t tile = first + block.thread % here, row = tile / side() * 4, column = tile % side() * 4;
    A sum[4][4] = {};
    GANVAS_ROLLED
    for (int64_t pixel = start; pixel < end; pixel += GRAM_TILE) {
      block.sync();
      GANVAS_ROLLED
      for (int64_t i = block.thread; i < (4 * side() + 1) * GRAM_TILE; i += block.threads) {
        const int64_t map = i / GRAM_TILE, p = pixel + i % GRAM_TILE;
        A value = 0;
        if (p < end && map < k) value = weights.load((sample * k + map) * pixels + p);
        if (p < end && map == 4 * side()) value = of_q[sample * pixels + p];
        w[map * pitch() + i % GRAM_TILE] = value;
      }
      block.sync();
      for (int p = helper; helper < helpers && p < GRAM_TILE; p += helpers)
        GANVAS_UNROLL
        for (int i = 0; i < 4; ++i) {
          const A left = q[p] * w[(row + i) * pitch() + p];
          GANVAS_UNROLL
          for (int j = 0; j < 4; ++j) sum[i][j] += left * w[(column + j) * pitch() + p];
        }
    }
    for (int i = 0; i < 16; ++i) sums[block.thread * 16 + i] = sum[i / 4][i % 4];
    block.sync();
    GANVAS_ROLLED
    for (int64_t i = block.thread; i < here * 16; i += block.threads) {
      A total = 0;
      GANVAS_ROLLED
      for (int h = 0; h < helpers; ++h) total += sums[h * here * 16 + i];
      const int64_t t = first + i / 16, r = t / side() * 4 + i % 16 / 4, c = t % side() * 4 + i % 4;
      if (r < k && c < k) of_gram[(block.index * k + r) * k + c] = total;
    }
    block.sync();
  }
};

// dL/ds = its parts + (2 / C) dG S, for a warp's width of channels of one map.
template <class A> struct FinishStyles {
  const A *styles, *parts, *of_gram;  // [N, K, C], [N, count, K, C], [N, chunks, K, K]
  A* of_styles;                       // [N, K, C]
  int64_t k, channels, count, chunks;

  GANVAS_BODY int64_t groups() const { return (channels + WARP - 1) / WARP; }
  int64_t memory(int threads) const { return (k + threads) * sizeof(A); }

  GANVAS_DEVICE void operator()(const Block& block) const {
    const int64_t row = quotient(block.index, groups()), sample = quotient(row, k), i = row - sample * k;
    const int64_t c = (block.index - row * groups()) * WARP + block.thread % WARP;
    const int warps = block.threads / WARP, warp = block.thread / WARP;
    A *of_row = reinterpret_cast<A*>(block.memory), *sums = of_row + k;  // [K], [threads]
    GANVAS_ROLLED
    for (int64_t j = block.thread; j < k; j += block.threads) {
      of_row[j] = 0;
      GANVAS_ROLLED
      for (int64_t chunk = 0; chunk < chunks; ++chunk)
        of_row[j] += of_gram[((sample * chunks + chunk) * k + i) * k + j];
    }
    A sum = 0;
    GANVAS_ROLLED
    for (int64_t part = warp; part < count && c < channels; part += warps)
      sum += parts[((sample * count + part) * k + i) * channels + c];
    sums[block.thread] = sum;
    block.sync();
    if (warp > 0 || c >= channels) return;
    A total = 0, through_gram = 0;
    GANVAS_ROLLED
    for (int w = 0; w < warps; ++w) total += sums[w * WARP + block.thread];
    GANVAS_ROLLED
    for (int64_t j = 0; j < k; ++j) through_gram += of_row[j] * styles[(sample * k + j) * channels + c];
    of_styles[row * channels + c] = total + 2 * through_gram / static_cast<A>(channels);
  }
};

}  // namespace ganvas
