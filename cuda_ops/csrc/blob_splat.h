// Blobs to a pyramid of weights, and back: see cuda_ops/blob_splat_reference.py for the equations.
//
// A warp makes 16x16 pixels, and of them up to four more levels by exchanges: no weight is read again. The blobs pass
// from front to back. Backward, nothing but the blobs was saved: a first pass finds the light that the background gets,
// a second goes from back to front, so that each gradient of a weight is read once.
#pragma once

#include "blob.h"
#include "blocks.h"

namespace ganvas {

constexpr int TILE = 16;           // pixels a side of what a warp makes
constexpr int WIDE = 4, TALL = 2;  // pixels of a thread
constexpr int WARP_LEVELS = 5;     // of 16, 8, 4, 2 and 1 pixels a side

// What forward and backward share: the blobs in memory, and where a thread's pixels are.
template <class A> struct Scene {
  const A* blobs;        // [N, K, 7]
  const int64_t* order;  // [N, K], from back to front; null for that of the indices
  int64_t samples, k;
  int resolution, levels;
  A area, offset;
  bool aligned;  // whether each row of the first level is

  int64_t tiles() const {
    const int64_t side = (resolution + TILE - 1) / TILE;
    return side * side;
  }
  int64_t blocks_a_sample() const { return (tiles() * WARP + THREADS - 1) / THREADS; }

  struct Place {
    int64_t sample;
    int row, column;  // of the first pixel
    bool inside;      // whether the warp has a tile
  };

  GANVAS_DEVICE Place place(const Block& block, int64_t blocks) const {
    const int64_t sample = quotient(block.index, blocks);
    const int side = (resolution + TILE - 1) / TILE, lane = block.thread % WARP;
    const int64_t tile = (block.index - sample * blocks) * (THREADS / WARP) + block.thread / WARP;
    const int down = static_cast<int>(quotient(tile, side)), across = static_cast<int>(tile - int64_t{down} * side);
    const int row = down * TILE + lane / (TILE / WIDE) * TALL, column = across * TILE + lane % (TILE / WIDE) * WIDE;
    return {sample, row, column, down < side};
  }

  // From back to front.
  GANVAS_DEVICE const Blob<A>* gather(const Block& block, int64_t sample) const {
    auto* gathered = reinterpret_cast<Blob<A>*>(block.memory);
    GANVAS_ROLLED
    for (int64_t i = block.thread; i < k; i += block.threads) {
      const int64_t blob = order ? order[sample * k + i] : i;
      gathered[i] = Blob<A>(blobs + (sample * k + blob) * BLOB, area, blob + 1);
    }
    block.sync();
    return gathered;
  }

  GANVAS_DEVICE A position(int pixel) const { return (static_cast<A>(pixel) + offset) / static_cast<A>(resolution); }

  // Of a pixel of the first level, in a level that was halved `halvings` times.
  GANVAS_DEVICE int64_t index(const Place& at, int64_t map, int row, int column, int halvings) const {
    const int64_t side = resolution >> halvings;
    return ((at.sample * (k + 1) + map) * side + (row >> halvings)) * side + (column >> halvings);
  }
};

template <class A> struct Splat {
  Scene<A> scene;
  Values<A> level[WARP_LEVELS];
  int64_t blocks;  // a sample

  int64_t memory() const { return scene.k * sizeof(Blob<A>); }

  GANVAS_DEVICE void operator()(const Block& block) const {
    const auto at = scene.place(block, blocks);
    const Blob<A>* blobs = scene.gather(block, at.sample);
    if (!at.inside) return;
    A light[TALL][WIDE], weight[TALL][WIDE];
    GANVAS_UNROLL
    for (int i = 0; i < TALL; ++i)
      GANVAS_UNROLL
      for (int j = 0; j < WIDE; ++j) light[i][j] = 1;
    GANVAS_ROLLED
    for (int64_t k = scene.k - 1; k >= -1; --k) {  // the background last
      const Blob<A> blob = blobs[k < 0 ? 0 : k];
      GANVAS_UNROLL
      for (int i = 0; i < TALL; ++i) {
        const A dy = scene.position(at.row + i) - blob.y;
        GANVAS_UNROLL
        for (int j = 0; j < WIDE; ++j) {
          const Opacity<A> o(blob.logit(scene.position(at.column + j) - blob.x, dy), blob.strength);
          weight[i][j] = k < 0 ? light[i][j] : o.opacity * light[i][j];
          light[i][j] -= weight[i][j];
        }
      }
      write(block, at, k < 0 ? 0 : blob.map, weight);
    }
  }

  // The pixels, and their means over 2x2, 4x4, ... pixels.
  GANVAS_DEVICE void write(const Block& block, const typename Scene<A>::Place& at, int64_t map,
                           const A (&weight)[TALL][WIDE]) const {
    const int lane = block.thread % WARP, side = scene.resolution;
    const bool inside = at.row < side && at.column < side;
    GANVAS_UNROLL
    for (int i = 0; i < TALL; ++i)
      if (inside && at.row + i < side)
        level[0].store4(scene.index(at, map, at.row + i, at.column, 0), side - at.column, scene.aligned, weight[i]);
    if (scene.levels == 1) return;
    A mean = 0;
    GANVAS_UNROLL
    for (int j = 0; j < WIDE; j += 2) {
      const A pair = A(0.25) * (weight[0][j] + weight[0][j + 1] + weight[1][j] + weight[1][j + 1]);
      if (inside && at.column + j < side) level[1].store(scene.index(at, map, at.row, at.column + j, 1), pair);
      mean += pair;
    }
    if (scene.levels == 2) return;
    mean = A(0.25) * (mean + block.exchange(mean, 4));
    if (inside && !(lane & 4)) level[2].store(scene.index(at, map, at.row, at.column, 2), mean);
    if (scene.levels == 3) return;
    mean += block.exchange(mean, 1);
    mean = A(0.25) * (mean + block.exchange(mean, 8));
    if (inside && !(lane & 13)) level[3].store(scene.index(at, map, at.row, at.column, 3), mean);
    if (scene.levels == 4) return;
    mean += block.exchange(mean, 2);
    mean = A(0.25) * (mean + block.exchange(mean, 16));
    if (inside && lane == 0) level[4].store(scene.index(at, map, at.row, at.column, 4), mean);
  }
};

// Sums of each block's pixels, [N, blocks, K, MOMENTS].
template <class A> struct SplatBackward {
  using Pixels = A[TALL][WIDE];

  Scene<A> scene;
  Values<A> grad[WARP_LEVELS];
  A* moments;
  int64_t blocks;  // a sample

  int64_t memory() const { return scene.k * (sizeof(Blob<A>) + sizeof(A) * MOMENTS * THREADS / WARP); }

  GANVAS_DEVICE void operator()(const Block& block) const {
    const auto at = scene.place(block, blocks);
    const Blob<A>* blobs = scene.gather(block, at.sample);
    A* sums = reinterpret_cast<A*>(block.memory + scene.k * sizeof(Blob<A>));
    const int64_t stride = scene.k * MOMENTS;
    warp(block, at, blobs, sums + block.thread / WARP * stride);
    block.sync();
    GANVAS_ROLLED
    for (int64_t i = block.thread; i < stride; i += block.threads) {
      A sum = 0;
      GANVAS_ROLLED
      for (int w = 0; w < THREADS / WARP; ++w) sum += sums[w * stride + i];
      moments[block.index * stride + i] = sum;
    }
  }

  GANVAS_DEVICE void warp(const Block& block, const typename Scene<A>::Place& at, const Blob<A>* blobs, A* sums) const {
    Pixels dark{}, behind, seen;  // logarithm of the light
    GANVAS_ROLLED
    for (int64_t k = 0; k < scene.k; ++k)
      GANVAS_UNROLL
      for (int i = 0; i < TALL; ++i)
        GANVAS_UNROLL
        for (int j = 0; j < WIDE; ++j) dark[i][j] += opacity(at, blobs[k], i, j).log_clear();
    GANVAS_ROLLED
    for (int64_t k = -1; k < scene.k; ++k) {
      const Blob<A> blob = blobs[k < 0 ? 0 : k];
      read(at, k < 0 ? 0 : blob.map, seen);
      if (k < 0) {  // the background first
        GANVAS_UNROLL
        for (int i = 0; i < TALL; ++i)
          GANVAS_UNROLL
          for (int j = 0; j < WIDE; ++j) behind[i][j] = seen[i][j];
        continue;
      }
      A value[MOMENTS] = {};
      GANVAS_UNROLL
      for (int i = 0; i < TALL; ++i) {
        A row[3] = {};
        GANVAS_UNROLL
        for (int j = 0; j < WIDE; ++j) {
          const Opacity<A> o = opacity(at, blob, i, j);
          dark[i][j] -= o.log_clear();
          const A contrast = seen[i][j] - behind[i][j], of_opacity = exponential(dark[i][j]) * contrast;
          behind[i][j] += o.opacity * contrast;
          const A of_logit = of_opacity * blob.strength * o.sigma * (1 - o.sigma);
          const A dx = scene.position(at.column + j) - blob.x;
          row[0] += of_logit;
          row[1] += of_logit * dx;
          row[2] += of_logit * dx * dx;
          value[6] += of_opacity * o.sigma;
        }
        const A dy = scene.position(at.row + i) - blob.y;
        value[0] += row[0];
        value[1] += row[1];
        value[2] += row[0] * dy;
        value[3] += row[2];
        value[4] += row[1] * dy;
        value[5] += row[0] * dy * dy;
      }
      const A sum = warp_sums(block, value);
      if (block.thread % WARP < MOMENTS) sums[(blob.map - 1) * MOMENTS + summed_by(block.thread)] = sum;
    }
  }

  GANVAS_DEVICE Opacity<A> opacity(const typename Scene<A>::Place& at, const Blob<A>& blob, int i, int j) const {
    const A dx = scene.position(at.column + j) - blob.x, dy = scene.position(at.row + i) - blob.y;
    return Opacity<A>(blob.logit(dx, dy), blob.strength);
  }

  // The gradient of the first level with that of the others in it.
  GANVAS_DEVICE void read(const typename Scene<A>::Place& at, int64_t map, Pixels& to) const {
    grad[0].as_typed([&](const auto* finest) { read_as(finest, at, map, to); });
  }

  template <class T>
  GANVAS_DEVICE void read_as(const T* finest, const typename Scene<A>::Place& at, int64_t map, Pixels& to) const {
    const int side = scene.resolution;
    const bool inside = at.inside && at.row < side && at.column < side;
    A coarse = 0, pair[WIDE / 2] = {};
    GANVAS_UNROLL
    for (int l = WARP_LEVELS - 1; l >= 2; --l) {
      if (!inside || l >= scene.levels) continue;
      const T value = static_cast<const T*>(grad[l].data)[scene.index(at, map, at.row, at.column, l)];
      coarse = A(0.25) * coarse + static_cast<A>(value);
    }
    GANVAS_UNROLL
    for (int j = 0; j < WIDE / 2; ++j) {
      if (!inside || scene.levels < 2 || at.column + 2 * j >= side) continue;
      const T value = static_cast<const T*>(grad[1].data)[scene.index(at, map, at.row, at.column + 2 * j, 1)];
      pair[j] = A(0.25) * (A(0.25) * coarse + static_cast<A>(value));
    }
    GANVAS_UNROLL
    for (int i = 0; i < TALL; ++i) {
      const bool there = inside && at.row + i < side;
      load4(finest + (there ? scene.index(at, map, at.row + i, at.column, 0) : 0), there ? side - at.column : 0,
            scene.aligned, to[i]);
      GANVAS_UNROLL
      for (int j = 0; j < WIDE; ++j) to[i][j] += pair[j / 2];
    }
  }
};

// The sums of a blob's blocks to its gradient, by a warp.
template <class A> struct SplatFinish {
  const A *blobs, *moments;
  A* out;
  int64_t k, blocks;  // a sample
  A area;

  GANVAS_DEVICE void operator()(const Block& block) const {
    const int64_t sample = quotient(block.index, k), blob = block.index - sample * k;
    A value[MOMENTS] = {};
    GANVAS_ROLLED
    for (int64_t b = block.thread; b < blocks; b += WARP)
      GANVAS_UNROLL
      for (int i = 0; i < MOMENTS; ++i) value[i] += moments[((sample * blocks + b) * k + blob) * MOMENTS + i];
    A* sums = reinterpret_cast<A*>(block.memory);
    const A sum = warp_sums(block, value);
    if (block.thread < MOMENTS) sums[summed_by(block.thread)] = sum;
    block.sync();
    if (block.thread == 0) blob_gradient(blobs + block.index * BLOB, sums, area, out + block.index * BLOB);
  }
};

// A level from the one before, and the gradient of one with that of the next in it, a value at a time.
template <class A> struct Halve {
  Values<A> from, to;
  int64_t side;  // of `to`

  GANVAS_DEVICE void operator()(int64_t i) const {
    const int64_t row = quotient(i, side), column = i - row * side;  // rows of all maps
    const int64_t corner = 4 * side * row + 2 * column, below = corner + 2 * side;
    to.store(i, A(0.25) * (from.load(corner) + from.load(corner + 1) + from.load(below) + from.load(below + 1)));
  }
};

template <class A> struct AddHalf {
  Values<A> fine, coarse, to;
  int64_t side;  // of `fine`

  GANVAS_DEVICE void operator()(int64_t i) const {
    const int64_t row = quotient(i, side), column = i - row * side;
    to.store(i, fine.load(i) + A(0.25) * coarse.load(quotient(row, 2) * (side / 2) + quotient(column, 2)));
  }
};

}  // namespace ganvas
