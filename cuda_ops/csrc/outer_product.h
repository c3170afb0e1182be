// y = x * sum_i fast_i slow_i: each sample an outer product of two sides, fast along memory and slow across it.
//
// In NCHW the fast side are the pixels and the slow side the channels; in channels_last they exchange their roles, and
// one kernel serves both.
#pragma once

#include "blocks.h"

namespace ganvas {

constexpr int FAST = 4, SLOW = 8;       // numbers of x that a thread keeps
constexpr int FAST_TILE = FAST * WARP;  // numbers along memory that a warp keeps

// The two factors of the outer product, [N, K, fast] and [N, K, slow].
template <class A> struct Factors {
  const A *fast, *slow;
  int64_t k, fasts, slows;
  bool aligned;  // whether rows of `fast` and of x are

  GANVAS_BODY int64_t fast_tiles() const { return (fasts + FAST_TILE - 1) / FAST_TILE; }
  GANVAS_BODY int64_t slow_groups() const { return (slows + SLOW - 1) / SLOW; }

  GANVAS_DEVICE void load(int64_t sample, int64_t i, int64_t f, int64_t s, A (&a)[FAST], A (&b)[SLOW]) const {
    load4(fast + (sample * k + i) * fasts + f, fasts - f, aligned, a);
    GANVAS_UNROLL
    for (int u = 0; u < SLOW; ++u) b[u] = s + u < slows ? slow[(sample * k + i) * slows + s + u] : A(0);
  }

  // Styles of a thread's numbers.
  GANVAS_DEVICE void product(int64_t sample, int64_t f, int64_t s, A (&style)[SLOW][FAST]) const {
    fill(style, 0);
    A a[FAST], b[SLOW];
    GANVAS_ROLLED
    for (int64_t i = 0; i < k; ++i) {
      load(sample, i, f, s, a, b);
      GANVAS_UNROLL
      for (int u = 0; u < SLOW; ++u)
        GANVAS_UNROLL
        for (int v = 0; v < FAST; ++v) style[u][v] += b[u] * a[v];
    }
  }

  static GANVAS_DEVICE void fill(A (&numbers)[SLOW][FAST], A value) {
    GANVAS_UNROLL
    for (int u = 0; u < SLOW; ++u)
      GANVAS_UNROLL
      for (int v = 0; v < FAST; ++v) numbers[u][v] = value;
  }

  // Multiply a thread's numbers by those of x; zero beyond its sides.
  GANVAS_DEVICE void times(const Values<A>& x, int64_t sample, int64_t f, int64_t s, A (&by)[SLOW][FAST]) const {
    const int64_t start = (sample * slows + s) * fasts + f;
    x.as_typed([&](const auto* from) {
      A row[SLOW][FAST];
      GANVAS_UNROLL
      for (int u = 0; u < SLOW; ++u) load4(from + start + u * fasts, s + u < slows ? fasts - f : 0, aligned, row[u]);
      GANVAS_UNROLL
      for (int u = 0; u < SLOW; ++u)
        GANVAS_UNROLL
        for (int v = 0; v < FAST; ++v) by[u][v] *= row[u][v];
    });
  }

  GANVAS_DEVICE void store(const Values<A>& y, int64_t sample, int64_t f, int64_t s,
                           const A (&from)[SLOW][FAST]) const {
    const int64_t start = (sample * slows + s) * fasts + f;
    y.as_typed([&](auto* to) {
      GANVAS_UNROLL
      for (int u = 0; u < SLOW; ++u)
        if (s + u < slows) store4(to + start + u * fasts, fasts - f, aligned, from[u]);
    });
  }
};

// y = x * sum_i fast_i slow_i, FAST x SLOW numbers a thread. Warps that follow one another share their fast factors.
template <class A> struct Outer {
  Factors<A> factors;
  Values<A> x, y;  // [N, slow, fast]

  int64_t count(int64_t samples) const { return samples * factors.fast_tiles() * factors.slow_groups() * WARP; }

  GANVAS_DEVICE void operator()(int64_t index) const {
    const int64_t warp = index / WARP, tiles = factors.fast_tiles(), groups = factors.slow_groups();
    const int64_t tile = quotient(warp, groups), sample = quotient(tile, tiles);
    const int64_t s = (warp - tile * groups) * SLOW, f = ((tile - sample * tiles) * WARP + index % WARP) * FAST;
    if (f >= factors.fasts) return;
    A style[SLOW][FAST];
    factors.product(sample, f, s, style);
    factors.times(x, sample, f, s, style);
    factors.store(y, sample, f, s, style);
  }
};

// From the gradient of y that of x, and the sums of h = g x against each factor:
// along fast  sum_slow h slow_i  [N, chunks, K, fast],  along slow  sum_fast h fast_i  [N, tiles, K, slow].
template <class A> struct OuterBackward {
  Factors<A> factors;
  Values<A> grad, x, of_x;
  A *along_fast, *along_slow;
  int64_t chunks, chunk_groups;  // of the slow side; groups of a chunk

  int64_t warp_bytes() const { return factors.k * FAST_TILE * sizeof(A); }
  int64_t blocks(int64_t samples) const { return samples * factors.fast_tiles() * chunks; }

  GANVAS_DEVICE void operator()(const Block& block) const {
    const int64_t tiles = factors.fast_tiles(), tile = quotient(block.index, chunks), sample = quotient(tile, tiles);
    const int64_t chunk = block.index - tile * chunks, last = (chunk + 1) * chunk_groups;
    const int warps = block.threads / WARP, lane = block.thread % WARP;
    A* sums = reinterpret_cast<A*>(block.memory);  // [warps, K, FAST_TILE]
    A* own = sums + block.thread / WARP * factors.k * FAST_TILE + lane * FAST;
    const A zeros[FAST] = {};
    GANVAS_ROLLED
    for (int64_t i = 0; i < factors.k; ++i) store4(own + i * FAST_TILE, FAST, true, zeros);
    GANVAS_ROLLED
    for (int64_t g = chunk * chunk_groups + block.thread / WARP; g < last && g < factors.slow_groups(); g += warps)
      group(block, sample, tile, ((tile - sample * tiles) * WARP + lane) * FAST, g * SLOW, own);
    block.sync();
    const int64_t first = (tile - sample * tiles) * FAST_TILE;
    GANVAS_ROLLED
    for (int64_t i = block.thread; i < factors.k * FAST_TILE; i += block.threads) {
      if (first + i % FAST_TILE >= factors.fasts) continue;
      A sum = 0;
      GANVAS_ROLLED
      for (int w = 0; w < warps; ++w) sum += sums[w * factors.k * FAST_TILE + i];
      along_fast[((sample * chunks + chunk) * factors.k + i / FAST_TILE) * factors.fasts + first + i % FAST_TILE] = sum;
    }
  }

  GANVAS_DEVICE void group(const Block& block, int64_t sample, int64_t tile, int64_t f, int64_t s, A* own) const {
    A h[SLOW][FAST], a[FAST], b[SLOW];
    factors.fill(h, 1);
    factors.times(grad, sample, f, s, h);
    factors.times(x, sample, f, s, h);
    GANVAS_ROLLED
    for (int64_t i = 0; i < factors.k; ++i) {
      factors.load(sample, i, f, s, a, b);
      A value[SLOW] = {}, sum[FAST];
      load4(own + i * FAST_TILE, FAST, true, sum);
      GANVAS_UNROLL
      for (int v = 0; v < FAST; ++v)
        GANVAS_UNROLL
        for (int u = 0; u < SLOW; ++u) {
          value[u] += h[u][v] * a[v];
          sum[v] += h[u][v] * b[u];
        }
      store4(own + i * FAST_TILE, FAST, true, sum);
      const A total = warp_sums(block, value);
      const int64_t at = s + summed_by(block.thread);
      if (block.thread % WARP < SLOW && at < factors.slows)
        along_slow[(tile * factors.k + i) * factors.slows + at] = total;
    }
    // The gradient is read again, from a cache: more registers would leave fewer warps.
    factors.product(sample, f, s, h);
    factors.times(grad, sample, f, s, h);
    factors.store(of_x, sample, f, s, h);
  }
};

}  // namespace ganvas
