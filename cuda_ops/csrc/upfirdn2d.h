// Zeros inserted, padded or cropped, filtered, decimated: output (oy, ox) is
//   y[oy, ox] = gain * sum over ky, kx of c[ky, kx] * z[oy * down_y + ky - pad_y, ox * down_x + kx - pad_x],
// where z is zero but for z[iy * up_y, ix * up_x] = x[iy, ix], and c is the filter, turned round unless `flip`.
#pragma once

#include "common.h"

namespace ganvas {

struct Steps {
  int64_t n, c, y, x;  // from one element to the next, along each dimension
};

template <class T> struct Resampling {
  using A = Accumulate<T>;

  const T* x;
  const A* c;  // c[0, 0]
  T* y;
  int64_t channels;
  Steps in, out;
  int in_h, in_w, out_h, out_w;
  int taps_y, taps_x;
  int step_y, step_x;  // from one tap to the next, in the order of c: negative if the filter is turned round
  int up_y, up_x, down_y, down_x;
  int pad_y, pad_x;    // before the first row and column
  A gain;
};

// Splits i = high * size + low.
GANVAS_BODY int64_t split(int64_t& i, int64_t size) {
  const int64_t high = quotient(i, size), low = i - high * size;
  i = high;
  return low;
}

// Any filter and any factors: an element of the output.
template <class T> struct UpfirdnElement {
  using A = Accumulate<T>;

  Resampling<T> r;
  bool channels_last;  // the order of the output in memory

  GANVAS_BODY void operator()(int64_t i) const {
    int64_t c = channels_last ? split(i, r.channels) : 0;
    const int ox = static_cast<int>(split(i, r.out_w)), oy = static_cast<int>(split(i, r.out_h));
    if (!channels_last) c = split(i, r.channels);
    const T* x = r.x + i * r.in.n + c * r.in.c;
    // Where the filter starts in z; the first sample of x at or after it.
    const int64_t zy = static_cast<int64_t>(oy) * r.down_y - r.pad_y, zx = static_cast<int64_t>(ox) * r.down_x - r.pad_x;
    const int64_t first_y = zy > 0 ? quotient(zy + r.up_y - 1, r.up_y) : 0;
    const int64_t first_x = zx > 0 ? quotient(zx + r.up_x - 1, r.up_x) : 0;
    A sum = 0;
    for (int64_t iy = first_y; iy < r.in_h; ++iy) {
      const int ky = static_cast<int>(iy * r.up_y - zy);
      if (ky >= r.taps_y) break;
      for (int64_t ix = first_x; ix < r.in_w; ++ix) {
        const int kx = static_cast<int>(ix * r.up_x - zx);
        if (kx >= r.taps_x) break;
        sum += r.c[ky * r.step_y + kx * r.step_x] * static_cast<A>(x[iy * r.in.y + ix * r.in.x]);
      }
    }
    r.y[i * r.out.n + c * r.out.c + oy * r.out.y + ox * r.out.x] = static_cast<T>(sum * r.gain);
  }
};

// Up to TAPS x TAPS taps and factors known at compile time: ROWS x COLS outputs of LANES channels. What a thread reads
// goes into all outputs that it belongs to, so a value is read once for a column of outputs, and the filter once.
// Padding must be a multiple of UP: `shift` puts a zero tap before the filter where it is not.
template <class T, int UP, int DOWN, int ROWS, int COLS, int LANES> struct UpfirdnStrip {
  using A = Accumulate<T>;
  static constexpr int TAPS = 4;
  static constexpr int IN_ROWS = ((ROWS - 1) * DOWN + TAPS - 1) / UP + 1;
  static constexpr int IN_COLS = ((COLS - 1) * DOWN + TAPS - 1) / UP + 1;
  static_assert(ROWS * DOWN % UP == 0 && COLS * DOWN % UP == 0, "each strip begins at the same phase");

  Resampling<T> r;
  int shift_y, shift_x;
  bool aligned;  // rows of outputs (LANES == 1), or packs of channels, can be stored in one access

  GANVAS_BODY static int64_t ceil_div(int64_t a, int64_t b) { return quotient(a + b - 1, b); }

  int64_t count(int64_t batch) const {
    return batch * (r.channels / LANES) * ceil_div(r.out_h, ROWS) * ceil_div(r.out_w, COLS);
  }

  GANVAS_BODY void operator()(int64_t i) const {
    int64_t c = LANES > 1 ? split(i, r.channels / LANES) * LANES : 0;
    const int ox = static_cast<int>(split(i, ceil_div(r.out_w, COLS))) * COLS;
    const int oy = static_cast<int>(split(i, ceil_div(r.out_h, ROWS))) * ROWS;
    if (LANES == 1) c = split(i, r.channels);

    A taps[TAPS][TAPS] = {};
    GANVAS_UNROLL
    for (int k = 0; k < TAPS * TAPS; ++k) {
      const int ky = k / TAPS - shift_y, kx = k % TAPS - shift_x;
      if (ky >= 0 && ky < r.taps_y && kx >= 0 && kx < r.taps_x)
        taps[k / TAPS][k % TAPS] = r.c[ky * r.step_y + kx * r.step_x] * r.gain;
    }

    A sum[ROWS][COLS][LANES] = {};
    accumulate(r.x + i * r.in.n + c * r.in.c, (oy * DOWN - r.pad_y - shift_y) / UP,
               (ox * DOWN - r.pad_x - shift_x) / UP, taps, sum);
    write(r.y + i * r.out.n + c * r.out.c, oy, ox, sum);
  }

  GANVAS_BODY void accumulate(const T* x, int iy, int ix, const A (&taps)[TAPS][TAPS], A (&sum)[ROWS][COLS][LANES]) const {
    GANVAS_UNROLL
    for (int j = 0; j < IN_ROWS; ++j) {
      if (iy + j < 0 || iy + j >= r.in_h) continue;
      const T* row = x + (iy + j) * r.in.y;
      GANVAS_UNROLL
      for (int k = 0; k < IN_COLS; ++k) {
        const bool inside = ix + k >= 0 && ix + k < r.in_w;
        const Pack<T, LANES> values = inside ? load<T, LANES>(row + (ix + k) * r.in.x, LANES, true) : Pack<T, LANES>{};
        GANVAS_UNROLL
        for (int a = 0; a < ROWS; ++a) {
          const int ky = j * UP - a * DOWN;
          if (ky < 0 || ky >= TAPS) continue;
          GANVAS_UNROLL
          for (int b = 0; b < COLS; ++b) {
            const int kx = k * UP - b * DOWN;
            if (kx < 0 || kx >= TAPS) continue;
            GANVAS_UNROLL
            for (int l = 0; l < LANES; ++l) sum[a][b][l] += taps[ky][kx] * static_cast<A>(values.value[l]);
          }
        }
      }
    }
  }

  GANVAS_BODY void write(T* y, int oy, int ox, const A (&sum)[ROWS][COLS][LANES]) const {
    GANVAS_UNROLL
    for (int a = 0; a < ROWS; ++a) {
      if (oy + a >= r.out_h) break;
      T* row = y + (oy + a) * r.out.y;
      if constexpr (LANES == 1) {
        Pack<T, COLS> values;
        GANVAS_UNROLL
        for (int b = 0; b < COLS; ++b) values.value[b] = static_cast<T>(sum[a][b][0]);
        store(row + ox, values, r.out_w - ox < COLS ? r.out_w - ox : COLS, aligned);
      } else {
        GANVAS_UNROLL
        for (int b = 0; b < COLS; ++b) {
          if (ox + b >= r.out_w) break;
          Pack<T, LANES> values;
          GANVAS_UNROLL
          for (int l = 0; l < LANES; ++l) values.value[l] = static_cast<T>(sum[a][b][l]);
          store(row + (ox + b) * r.out.x, values, LANES, true);
        }
      }
    }
  }
};

}  // namespace ganvas
