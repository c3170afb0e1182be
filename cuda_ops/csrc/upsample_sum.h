// The sum of maps enlarged to one size, and its transpose (cuda_ops/upsample_sum.py): bilinear with half-pixel
// centres and clamped borders, or by repetition. Maps may be pieces of larger ones, and the output a window of one.
#pragma once

#include "common.h"

namespace ganvas {

// Between which samples an output position falls, and how far it is from the lower one.
template <class A> struct Tap {
  int low, high;
  A t;
};

// (position + 1/2) * size / out - 1/2, at least 0, as a fraction of whole numbers: exact for sizes up to 2^15.
template <class A> GANVAS_BODY Tap<A> tap_of(int position, int size, int out) {
  const uint32_t ahead = (2u * static_cast<uint32_t>(position) + 1) * static_cast<uint32_t>(size);
  const uint32_t whole = 2u * static_cast<uint32_t>(out);
  const uint32_t source = ahead > static_cast<uint32_t>(out) ? ahead - static_cast<uint32_t>(out) : 0;
  const int low = static_cast<int>(source / whole);
  const A t = static_cast<A>(source - static_cast<uint32_t>(low) * whole) / static_cast<A>(whole);
  return {low, low + 1 < size ? low + 1 : low, t};
}

// One axis of a map: `length` samples from `start` on, of `size`; enlarged to `out`.
struct Axis {
  int start, length, size, out;
  bool nearest;

  template <class A> GANVAS_BODY Tap<A> tap(int position) const {  // counted from the piece's beginning
    if (nearest) {
      const uint32_t ahead = static_cast<uint32_t>(position) * static_cast<uint32_t>(size);
      const int sample = static_cast<int>(ahead / static_cast<uint32_t>(out)) - start;
      return {sample, sample, A(0)};
    }
    const Tap<A> whole = tap_of<A>(position, size, out);
    return {whole.low - start, whole.high - start, whole.t};
  }
};

template <class P> struct Level {
  P* at;  // of dense [N, O, rows.length, columns.length], contiguous or channels last
  Axis rows, columns;
};

constexpr int MOST_LEVELS = 16;

// Rows top .. top + height, columns left .. left + width of the output.
struct Frame {
  int top, left, height, width;
  int64_t samples, channels;
  bool last;  // channels last, in all maps
};

// A strip of ROWS x COLS outputs of a channel, or of ROWS outputs of COLS channels if those come last. Going down, a row
// of a coarse map is enlarged across once, and serves all outputs beside it.
template <class T> struct UpsampleSum {
  using A = Accumulate<T>;
  static constexpr int ROWS = 8, COLS = sizeof(T) == 8 ? 2 : 4;

  Level<const T> levels[MOST_LEVELS];
  int count;
  T* out;
  Frame f;
  bool aligned;  // strips, and packs of channels, each in one access

  GANVAS_BODY int64_t across() const {  // strips beside each other
    return f.last ? f.width * quotient(f.channels + COLS - 1, COLS) : (f.width + COLS - 1) / COLS;
  }
  GANVAS_BODY int64_t down() const { return (f.height + ROWS - 1) / ROWS; }
  GANVAS_BODY int64_t strips() const { return (f.last ? f.samples : f.samples * f.channels) * down() * across(); }

  struct Strip {
    int64_t map, channel;  // a sample, or a sample's channel; the first of a pack of channels
    int x, y, count;       // count: of COLS how many there are
  };

  GANVAS_BODY Strip strip_of(int64_t i) const {
    const int64_t wide = across(), rest = quotient(i, wide), map = quotient(rest, down());
    const int y = static_cast<int>(rest - map * down()) * ROWS;
    const int64_t place = i - rest * wide;
    if (!f.last) {
      const int x = static_cast<int>(place) * COLS, left = f.width - x;
      return {map, 0, x, y, left < COLS ? left : COLS};
    }
    const int64_t packs = quotient(f.channels + COLS - 1, COLS), x = quotient(place, packs);
    const int64_t channel = (place - x * packs) * COLS, left = f.channels - channel;
    return {map, channel, static_cast<int>(x), y, static_cast<int>(left < COLS ? left : COLS)};
  }

  // A row of a level, enlarged across to the strip's columns.
  GANVAS_BODY void row(const Level<const T>& level, const Strip& s, const Tap<A> (&taps)[COLS], int y,
                       A (&values)[COLS]) const {
    const int64_t length = level.columns.length;
    const T* from = level.at + (s.map * level.rows.length + y) * length * (f.last ? f.channels : 1);
    if (f.last) {
      const auto low = load<T, COLS>(from + taps[0].low * f.channels + s.channel, s.count, aligned);
      const auto high = load<T, COLS>(from + taps[0].high * f.channels + s.channel, s.count, aligned);
      GANVAS_UNROLL
      for (int k = 0; k < COLS; ++k)
        values[k] = mix(static_cast<A>(low.value[k]), static_cast<A>(high.value[k]), taps[0].t);
    } else {
      GANVAS_UNROLL
      for (int k = 0; k < COLS; ++k)
        values[k] = mix(static_cast<A>(from[taps[k].low]), static_cast<A>(from[taps[k].high]), taps[k].t);
    }
  }

  static GANVAS_BODY A mix(A low, A high, A t) { return low + t * (high - low); }

  GANVAS_BODY void add(const Level<const T>& level, const Strip& s, A (&sum)[ROWS][COLS]) const {
    Tap<A> taps[COLS];
    GANVAS_UNROLL
    for (int k = 0; k < COLS; ++k)
      taps[k] = level.columns.template tap<A>(f.left + s.x + (f.last || k >= s.count ? 0 : k));
    A above[COLS], below[COLS];
    int at_above = -1, at_below = -1;
    GANVAS_UNROLL
    for (int r = 0; r < ROWS; ++r) {
      if (s.y + r >= f.height) break;
      const Tap<A> tap = level.rows.template tap<A>(f.top + s.y + r);
      if (tap.low != at_above) {
        if (tap.low == at_below) {
          GANVAS_UNROLL
          for (int k = 0; k < COLS; ++k) above[k] = below[k];
        } else {
          row(level, s, taps, tap.low, above);
        }
        at_above = tap.low;
      }
      if (tap.high != at_below) {
        row(level, s, taps, tap.high, below);
        at_below = tap.high;
      }
      GANVAS_UNROLL
      for (int k = 0; k < COLS; ++k) sum[r][k] += mix(above[k], below[k], tap.t);
    }
  }

  GANVAS_BODY void operator()(int64_t i) const {
    const Strip s = strip_of(i);
    A sum[ROWS][COLS] = {};
    for (int l = 0; l < count; ++l) add(levels[l], s, sum);
    const int64_t step = f.last ? f.width * f.channels : f.width;
    T* to = out + (s.map * f.height + s.y) * step + (f.last ? s.x * f.channels + s.channel : s.x);
    GANVAS_UNROLL
    for (int r = 0; r < ROWS; ++r) {
      if (s.y + r >= f.height) break;
      Pack<T, COLS> pack;
      GANVAS_UNROLL
      for (int k = 0; k < COLS; ++k) pack.value[k] = static_cast<T>(sum[r][k]);
      store(to + r * step, pack, s.count, aligned);
    }
  }
};

// First half of the transpose: the gradient's rows gathered into the rows of every level, all in one pass. A thread has
// a column to itself, so it may add to what is there, and always in the same order.
template <class T> struct UpsampleSumRows {
  using A = Accumulate<T>;
  static constexpr int ROWS = 8;

  Level<A> levels[MOST_LEVELS];  // [maps, rows.length, across], zeros
  int count;
  const T* grad;                 // [maps, height, across]
  int64_t across;
  int top, height;

  GANVAS_BODY void operator()(int64_t i) const {
    const int64_t map = quotient(i, across), x = i - map * across;
    const T* from = grad + map * height * across + x;
    for (int y = 0; y < height; y += ROWS) {
      A rows[ROWS];
      GANVAS_UNROLL
      for (int r = 0; r < ROWS; ++r) rows[r] = y + r < height ? static_cast<A>(from[(y + r) * across]) : A(0);
      for (int l = 0; l < count; ++l) add(levels[l], map, x, y, rows);
    }
  }

  GANVAS_BODY void add(const Level<A>& level, int64_t map, int64_t x, int y, const A (&rows)[ROWS]) const {
    A* to = level.at + map * level.rows.length * across + x;
    Tap<A> at{-1, -1, 0};
    A above = 0, below = 0;
    GANVAS_UNROLL
    for (int r = 0; r < ROWS; ++r) {
      if (y + r >= height) break;
      const Tap<A> tap = level.rows.template tap<A>(top + y + r);
      if (tap.low != at.low) {
        if (at.low >= 0) to[at.low * across] += above;
        above = at.high == tap.low ? below : A(0);
        if (at.high >= 0 && at.high != tap.low) to[at.high * across] += below;
        below = 0;
        at = tap;
      }
      if (tap.high == tap.low) {
        above += rows[r];
      } else {
        above += (1 - tap.t) * rows[r];
        below += tap.t * rows[r];
      }
    }
    to[at.low * across] += above;
    if (at.high != at.low) to[at.high * across] += below;
  }
};

// Second half: the columns of one level.
template <class T> struct UpsampleSumColumns {
  using A = Accumulate<T>;

  Level<T> level;   // its gradient, [maps, rows, columns.length, channels]
  const A* rows;    // [maps, rows, width, channels]
  int64_t channels; // 1 unless they come last
  int left, width;

  GANVAS_BODY void operator()(int64_t i) const {
    const Axis& axis = level.columns;
    const int64_t place = quotient(i, channels), line = quotient(place, axis.length);
    const int64_t channel = i - place * channels;
    const int column = static_cast<int>(place - line * axis.length);
    // Outputs whose source lies within a sample of this one, and some more: the taps tell.
    const int64_t whole = axis.start + column, twice = 2 * axis.size;
    int64_t first = quotient(whole > 0 ? (2 * whole - 1) * axis.out : 0, twice) - 1;
    int64_t end = quotient((2 * whole + 3) * axis.out, twice) + 2;
    first = first < left ? left : first;
    end = end > left + width ? left + width : end;
    const A* from = rows + (line * width - left) * channels + channel;
    A sum = 0;
    for (int64_t x = first; x < end; ++x) {
      const Tap<A> tap = axis.tap<A>(static_cast<int>(x));
      const A weight = (tap.low == column ? 1 - tap.t : A(0)) + (tap.high == column ? tap.t : A(0));
      sum += weight * from[x * channels];
    }
    level.at[i] = static_cast<T>(sum);
  }
};

}  // namespace ganvas
