// y = clamp(gain * act(x + bias)) and its first two derivatives, on dense tensors of one layout.
#pragma once

#include "common.h"

namespace ganvas {

// In the order of cuda_ops.bias_act.ACTIVATIONS.
enum class Act : int64_t { Linear, Relu, Lrelu, Tanh, Sigmoid, Elu, Selu, Softplus, Swish };

inline bool is_piecewise_linear(Act act) { return act <= Act::Lrelu; }

// Tensors are dense: the channel of an element follows from its place in memory.
struct Channels {
  int64_t stride;  // of the bias's dimension
  int64_t count;   // length of the bias: in memory a tensor is [rows / count, count, stride]

  GANVAS_BODY int64_t row(int64_t i) const { return quotient(i, stride); }
  GANVAS_BODY int64_t of_row(int64_t row) const { return row - quotient(row, count) * count; }
};

template <class A> GANVAS_BODY A clamped(A y, A bound) { return y < -bound ? -bound : y > bound ? bound : y; }

// Linear, relu and leaky relu: slope 1 above zero and `alpha` below, a pack of values at a time.
// ORDER 0: out = y of x. ORDER 1: out = dy * slope, where x is the output y and there is no bias.
template <class T, int ORDER> struct PiecewiseLinear {
  using A = Accumulate<T>;

  const T* x;
  const T* bias;  // or null
  const T* dy;
  T* out;
  int64_t size;  // elements
  Channels channels;
  A alpha, gain, clamp;  // clamp: infinite for none
  bool aligned;

  static int64_t count(int64_t size) { return (size + Pack<T>::SIZE - 1) / Pack<T>::SIZE; }

  GANVAS_BODY void operator()(int64_t pack) const {
    const int64_t start = pack * Pack<T>::SIZE;
    const int n = size - start < Pack<T>::SIZE ? static_cast<int>(size - start) : Pack<T>::SIZE;
    const Pack<T> xs = load(x + start, n, aligned);
    Pack<T> dys{}, outs{};
    if (ORDER == 1) dys = load(dy + start, n, aligned);
    int64_t left = 0, channel = 0;
    if (ORDER == 0 && bias) {
      const int64_t row = channels.row(start);
      left = channels.stride - (start - row * channels.stride);
      channel = channels.of_row(row);
    }
    GANVAS_UNROLL
    for (int i = 0; i < Pack<T>::SIZE; ++i) {
      if (ORDER == 1) {
        outs.value[i] = static_cast<T>(gradient(xs.value[i], dys.value[i]));
        continue;
      }
      A b = 0;
      if (bias && i < n) {
        b = bias[channel];
        if (--left == 0) {
          left = channels.stride;
          channel = channel + 1 == channels.count ? 0 : channel + 1;
        }
      }
      outs.value[i] = static_cast<T>(value(static_cast<A>(xs.value[i]) + b));
    }
    store(out + start, outs, n, aligned);
  }

  GANVAS_BODY A value(A z) const {
    const A below = alpha == 0 && z < 0 ? A(0) : z * alpha;  // relu of minus infinity is zero; NaN stays NaN
    return clamped((z > 0 ? z : below) * gain, clamp);
  }

  // Where y is at the bound it was clamped; its sign is that of the activation times that of the gain.
  GANVAS_BODY A gradient(A y, A dy_) const {
    const A act = gain < 0 ? -y : y;
    return y > -clamp && y < clamp ? dy_ * (act > 0 ? gain : gain * alpha) : A(0);
  }
};

// The gradients of PiecewiseLinear for x and for the bias in one pass over memory. Each thread also adds up what it
// writes, so that the sum over all else than channels is left with a few percent of the numbers. No two threads add to
// one place: the result is the same in each run.
template <class T> struct PiecewiseLinearGradients {
  using A = Accumulate<T>;

  PiecewiseLinear<T, 1> slope;
  A* sums;
  int64_t rows;     // of `stride` neighbours in memory, all of one channel
  int64_t threads;  // for a row; for neighbouring channels (stride 1), for a column of rows
  bool aligned;

  static constexpr int64_t PACKS = 8;  // of a thread, at least

  // Rows of neighbours: sums are [rows, threads]. A stride of 1: [threads, channels].
  static int64_t threads_for(int64_t stride, int64_t rows, int64_t channels) {
    if (stride > 1) return ((stride + Pack<T>::SIZE - 1) / Pack<T>::SIZE + PACKS - 1) / PACKS;
    const int64_t columns = rows / channels, packs = columns < 4096 ? PACKS : 4 * PACKS;
    return (columns + packs - 1) / packs;
  }

  static bool is_aligned(int64_t stride, int64_t channels) {
    return (stride > 1 ? stride : channels) % Pack<T>::SIZE == 0;
  }

  int64_t count() const {
    return threads * (slope.channels.stride > 1 ? rows : (slope.channels.count + Pack<T>::SIZE - 1) / Pack<T>::SIZE);
  }

  GANVAS_BODY void operator()(int64_t i) const {
    if (slope.channels.stride > 1)
      along_row(i);
    else
      across_rows(i);
  }

  GANVAS_BODY void along_row(int64_t i) const {
    const int64_t row = quotient(i, threads), length = slope.channels.stride;
    A sum = 0;
    for (int64_t at = (i - row * threads) * Pack<T>::SIZE; at < length; at += threads * Pack<T>::SIZE) {
      const Pack<T> dxs = one_pack(row * length + at, length - at);
      GANVAS_UNROLL
      for (int l = 0; l < Pack<T>::SIZE; ++l) sum += static_cast<A>(dxs.value[l]);
    }
    sums[i] = sum;
  }

  GANVAS_BODY void across_rows(int64_t i) const {
    const int64_t channels = slope.channels.count, columns = quotient(rows, channels);
    const int64_t packs = (channels + Pack<T>::SIZE - 1) / Pack<T>::SIZE, thread = quotient(i, packs);
    const int64_t channel = (i - thread * packs) * Pack<T>::SIZE;
    A sum[Pack<T>::SIZE] = {};
    for (int64_t column = thread; column < columns; column += threads) {
      const Pack<T> dxs = one_pack(column * channels + channel, channels - channel);
      GANVAS_UNROLL
      for (int l = 0; l < Pack<T>::SIZE; ++l) sum[l] += static_cast<A>(dxs.value[l]);
    }
    GANVAS_UNROLL
    for (int l = 0; l < Pack<T>::SIZE; ++l)
      if (channel + l < channels) sums[thread * channels + channel + l] = sum[l];
  }

  // Gradients for x of up to `left` values, zero beyond.
  GANVAS_BODY Pack<T> one_pack(int64_t start, int64_t left) const {
    const int n = left < Pack<T>::SIZE ? static_cast<int>(left) : Pack<T>::SIZE;
    const Pack<T> ys = load(slope.x + start, n, aligned), dys = load(slope.dy + start, n, aligned);
    Pack<T> dxs;
    GANVAS_UNROLL
    for (int l = 0; l < Pack<T>::SIZE; ++l)
      dxs.value[l] = static_cast<T>(l < n ? slope.gradient(ys.value[l], dys.value[l]) : A(0));
    store(slope.out + start, dxs, n, aligned);
    return dxs;
  }
};

template <class A> GANVAS_BODY A sigmoid(A z) { return A(1) / (A(1) + std::exp(-z)); }

// A smooth activation (ORDER 0) or its derivatives at z.
template <int ORDER, class A> GANVAS_BODY A smooth(Act act, A z) {
  const A selu_scale = A(1.0507009873554804934193349852946), selu_alpha = A(1.6732632423543772848170429916717);
  switch (act) {
    case Act::Tanh: {
      const A t = std::tanh(z);
      return ORDER == 0 ? t : ORDER == 1 ? 1 - t * t : -2 * t * (1 - t * t);
    }
    case Act::Elu:
      if (ORDER == 0) return z > 0 ? z : std::expm1(z);
      return z > 0 ? A(ORDER == 1) : std::exp(z);
    case Act::Selu:
      if (ORDER == 0) return selu_scale * (z > 0 ? z : selu_alpha * std::expm1(z));
      return selu_scale * (z > 0 ? A(ORDER == 1) : selu_alpha * std::exp(z));
    case Act::Softplus:
      if (ORDER == 0) return z > 20 ? z : std::log1p(std::exp(z));
      break;
    default: break;
  }
  const A s = sigmoid(z);
  if (act == Act::Swish) return ORDER == 0 ? s * z : ORDER == 1 ? s * (1 + z * (1 - s)) : s * (1 - s) * (2 + z * (1 - 2 * s));
  const int order = act == Act::Softplus ? ORDER - 1 : ORDER;  // the sigmoid is the derivative of softplus
  return order == 0 ? s : order == 1 ? s * (1 - s) : s * (1 - s) * (1 - 2 * s);
}

// The other activations, a value at a time. ORDER 0: out = y of x. ORDER 1: out = dy * dy/dx.
// ORDER 2: out = ddx * dy * d2y/dx2.
template <class T, int ORDER> struct Smooth {
  using A = Accumulate<T>;

  const T* x;
  const T* bias;  // or null
  const T* dy;
  const T* ddx;
  T* out;
  Channels channels;
  Act act;
  A gain, clamp;

  GANVAS_BODY void operator()(int64_t i) const {
    const A b = bias ? static_cast<A>(bias[channels.of_row(channels.row(i))]) : A(0);
    const A z = static_cast<A>(x[i]) + b;
    const A y = smooth<0>(act, z) * gain;
    if (ORDER == 0) {
      out[i] = static_cast<T>(clamped(y, clamp));
    } else {
      A grad = static_cast<A>(dy[i]) * gain * smooth<ORDER>(act, z);
      if (ORDER == 2) grad *= static_cast<A>(ddx[i]);
      out[i] = static_cast<T>(y < -clamp || y > clamp ? A(0) : grad);
    }
  }
};

}  // namespace ganvas
