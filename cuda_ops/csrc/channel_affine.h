// Maps [N, C, pixels] with numbers for each sample and channel around them (cuda_ops/channel_affine.py):
//   z = x * scale + y * y_scale + noise * noise_scale + bias;  out = clamp(gain * (z > 0 ? z : slope * z)),
// or, with a mask (an earlier `out`), its slope there times z; and the gradients of both.
//
// A thread keeps the numbers of its channels in registers while it walks over pixels. Contiguous maps: a team of lanes
// shares one channel of a sample, and each lane takes a pack of pixels at a time. Channels last: a thread has a pack of
// channels, and takes a pixel at a time. In both, neighbouring threads read neighbouring packs.
#pragma once

#include "common.h"

namespace ganvas {

// A number for each sample and channel: steps of 0 where one serves all.
template <class A> struct Table {
  const A* at;  // or null
  int64_t step_n, step_c;

  GANVAS_BODY A get(int64_t n, int64_t c, A otherwise) const { return at ? at[n * step_n + c * step_c] : otherwise; }
};

// Who does what: a team's part of one channel, or of one pack of channels.
struct Teams {
  int64_t samples, channels, pixels;
  bool last;       // channels last
  bool aligned;    // whole packs, each in one access
  int wide;        // values in a pack
  int lanes;       // in a team: a power of two, at most 32; 1 with channels last
  int64_t depth;   // packs that a lane takes
  int64_t parts;   // of a sample's channel, or pack of channels

  GANVAS_BODY int64_t groups() const { return last ? quotient(channels + wide - 1, wide) : channels; }
  GANVAS_BODY int64_t units() const { return last ? pixels : quotient(pixels + wide - 1, wide); }
  GANVAS_BODY int64_t count() const { return samples * parts * groups(); }
};

struct Place {
  int64_t n, part, channel;  // the first channel of a pack
  int channels;              // how many the pack has, or 1
};

// The groups of one part come first: they read the same noise.
GANVAS_BODY Place place_of(const Teams& t, int64_t team) {
  const int64_t groups = t.groups(), rest = quotient(team, groups), n = quotient(rest, t.parts);
  const int64_t channel = (team - rest * groups) * (t.last ? t.wide : 1);
  const int64_t left = t.last ? t.channels - channel : 1;
  return {n, rest - n * t.parts, channel, static_cast<int>(left < t.wide ? left : t.wide)};
}

// The packs of one lane: the `step`-th, or none.
struct Spot {
  int64_t offset, pixel;  // of its first value
  int count;              // values in it; 0 for none
};

GANVAS_BODY Spot spot_of(const Teams& t, const Place& p, int lane, int64_t step) {
  const int64_t unit = (p.part * t.depth + step) * t.lanes + lane;
  if (unit >= t.units()) return {0, 0, 0};
  if (t.last) return {(p.n * t.pixels + unit) * t.channels + p.channel, unit, p.channels};
  const int64_t pixel = unit * t.wide, left = t.pixels - pixel;
  return {(p.n * t.channels + p.channel) * t.pixels + pixel, pixel, static_cast<int>(left < t.wide ? left : t.wide)};
}

// The noise of a pack of values. One map may serve all samples.
template <class T> struct Noise {
  using A = Accumulate<T>;
  static constexpr int WIDE = Pack<T>::SIZE;

  const A* at;     // or null
  int64_t step_n;  // 0 if one map serves all

  GANVAS_BODY void get(const Teams& t, const Place& p, const Spot& s, A (&values)[WIDE]) const {
    const A* from = at + p.n * step_n + s.pixel;
    if (t.last) {
      GANVAS_UNROLL
      for (int i = 0; i < WIDE; ++i) values[i] = *from;
      return;
    }
    constexpr int STEP = Pack<A>::SIZE;
    GANVAS_UNROLL
    for (int i = 0; i < WIDE; i += STEP) {
      const int left = s.count - i;
      const Pack<A> pack = load(from + i, left < 0 ? 0 : left < STEP ? left : STEP, t.aligned);
      GANVAS_UNROLL
      for (int j = 0; j < STEP; ++j) values[i + j] = pack.value[j];
    }
  }
};

template <class A> struct Bend {
  A slope, gain, clamp;
  bool bounded;

  GANVAS_BODY A value(A z) const {
    const A y = (z > 0 ? z : z * slope) * gain;
    return !bounded ? y : y < -clamp ? -clamp : y > clamp ? clamp : y;
  }
  // Of an output: its sign is that of z.
  GANVAS_BODY A slope_at(A y) const {
    if (bounded && (y >= clamp || y <= -clamp)) return A(0);
    return y > 0 ? gain : slope * gain;
  }
};

template <class T> struct ChannelAffine {
  using A = Accumulate<T>;
  static constexpr int WIDE = Pack<T>::SIZE;

  Teams teams;
  const T *x, *y, *mask;  // y and mask may be null
  T* out;
  Table<A> scale, y_scale, noise_scale, bias;
  Noise<T> noise;
  Bend<A> bend;

  GANVAS_BODY void operator()(int64_t i) const {
    const int64_t team = quotient(i, teams.lanes);
    const int lane = static_cast<int>(i - team * teams.lanes);
    const Place p = place_of(teams, team);
    A a[WIDE], b[WIDE], s[WIDE], c[WIDE];
    GANVAS_UNROLL
    for (int k = 0; k < WIDE; ++k) {
      const int64_t channel = p.channel + (k < p.channels ? k : 0);
      a[k] = scale.get(p.n, channel, A(1));
      b[k] = y_scale.get(p.n, channel, A(1));
      s[k] = noise_scale.get(p.n, channel, A(0));
      c[k] = bias.get(p.n, channel, A(0));
    }
    for (int64_t step = 0; step < teams.depth; ++step) {
      const Spot at = spot_of(teams, p, lane, step);
      if (at.count == 0) return;
      const Pack<T> xs = load(x + at.offset, at.count, teams.aligned);
      Pack<T> ys{}, masks{}, outs{};
      if (y) ys = load(y + at.offset, at.count, teams.aligned);
      if (mask) masks = load(mask + at.offset, at.count, teams.aligned);
      A noises[WIDE] = {};
      if (noise.at) noise.get(teams, p, at, noises);
      GANVAS_UNROLL
      for (int k = 0; k < WIDE; ++k) {
        A z = static_cast<A>(xs.value[k]) * a[k] + noises[k] * s[k] + c[k];
        if (y) z += static_cast<A>(ys.value[k]) * b[k];
        outs.value[k] = static_cast<T>(mask ? z * bend.slope_at(static_cast<A>(masks.value[k])) : bend.value(z));
      }
      store(out + at.offset, outs, at.count, teams.aligned);
    }
  }
};

// Sums of a lane, one for each of its channels: of e * x, e * noise and e.
template <class T> struct ChannelSums {
  static constexpr int KINDS = 3;
  Accumulate<T> of[KINDS][Pack<T>::SIZE];
};

template <class T> struct ChannelAffineBackward {
  using A = Accumulate<T>;
  using Sums = ChannelSums<T>;
  static constexpr int WIDE = Pack<T>::SIZE;

  Teams teams;
  const T *grad, *x, *mask;  // x and mask may be null
  T* dx;                     // or null
  A* sums[Sums::KINDS];      // each [parts, N, C], or null
  Table<A> scale;
  Noise<T> noise;
  Bend<A> bend;

  GANVAS_BODY Sums part(int64_t team, int lane) const {
    const Place p = place_of(teams, team);
    A a[WIDE];
    Sums found{};
    GANVAS_UNROLL
    for (int k = 0; k < WIDE; ++k) a[k] = scale.get(p.n, p.channel + (k < p.channels ? k : 0), A(1));
    for (int64_t step = 0; step < teams.depth; ++step) {
      const Spot at = spot_of(teams, p, lane, step);
      if (at.count == 0) break;
      const Pack<T> grads = load(grad + at.offset, at.count, teams.aligned);
      Pack<T> xs{}, masks{}, outs{};
      if (x) xs = load(x + at.offset, at.count, teams.aligned);
      if (mask) masks = load(mask + at.offset, at.count, teams.aligned);
      A noises[WIDE] = {};
      if (noise.at) noise.get(teams, p, at, noises);
      GANVAS_UNROLL
      for (int k = 0; k < WIDE; ++k) {  // what a pack lacks is zero, and adds nothing
        const A slope = mask ? bend.slope_at(static_cast<A>(masks.value[k])) : bend.gain;
        const A e = slope * static_cast<A>(grads.value[k]);
        found.of[0][k] += e * static_cast<A>(xs.value[k]);
        found.of[1][k] += e * noises[k];
        found.of[2][k] += e;
        outs.value[k] = static_cast<T>(e * a[k]);
      }
      if (dx) store(dx + at.offset, outs, at.count, teams.aligned);
    }
    if (!teams.last)
      for (int kind = 0; kind < Sums::KINDS; ++kind)
        for (int k = 1; k < WIDE; ++k) found.of[kind][0] += found.of[kind][k];
    return found;
  }

  GANVAS_BODY void finish(int64_t team, const Sums& found) const {
    const Place p = place_of(teams, team);
    GANVAS_UNROLL
    for (int kind = 0; kind < Sums::KINDS; ++kind) {
      if (!sums[kind]) continue;
      A* to = sums[kind] + (p.part * teams.samples + p.n) * teams.channels + p.channel;
      GANVAS_UNROLL
      for (int k = 0; k < WIDE; ++k)
        if (k < p.channels) to[k] = found.of[kind][k];
    }
  }
};

// Adds the parts up: always in the same order, so that a step can be repeated.
template <class A> struct SumOfParts {
  const A* parts;  // [count, size]
  A* sum;          // [size]
  int64_t count, size;

  GANVAS_BODY void operator()(int64_t i) const {
    A total = 0;
    for (int64_t part = 0; part < count; ++part) total += parts[part * size + i];
    sum[i] = total;
  }
};

}  // namespace ganvas
