// A blob in closed form: its conic, its opacity at a point, and its gradient from a few sums over the picture.
#pragma once

#include <type_traits>

#include "common.h"

namespace ganvas {

constexpr int BLOB = 7;             // numbers of a blob: x, y, size, log of the aspect, cosine and sine, opacity
constexpr int MOMENTS = 8;          // sums of dL/dz (1, dx, dy, dx^2, dx dy, dy^2), of dL/do sigmoid(z), and a gap
constexpr double SOFTENING = 1e-5;  // added to both variances, as in the reference

template <class A> GANVAS_BODY A exponential(A x) {
#ifdef __CUDA_ARCH__
  if constexpr (std::is_same_v<A, float>) return __expf(x);
#endif
  return std::exp(x);
}

template <class A> GANVAS_BODY A logarithm(A x) {
#ifdef __CUDA_ARCH__
  if constexpr (std::is_same_v<A, float>) return __logf(x);
#endif
  return std::log(x);
}

template <class A> GANVAS_BODY A reciprocal(A x) {
#ifdef __CUDA_ARCH__
  if constexpr (std::is_same_v<A, float>) return __fdividef(1.0f, x);
#endif
  return 1 / x;
}

template <class A> struct Variances {
  A along, across;  // inverses

  GANVAS_BODY Variances(const A* blob, A area)
      : along(1 / (area * std::exp(blob[3]) + A(SOFTENING))), across(1 / (area * std::exp(-blob[3]) + A(SOFTENING))) {}
};

template <class A> struct Conic {
  A xx, xy, yy, determinant;

  GANVAS_BODY Conic(const A* blob, A area) {
    const Variances<A> v(blob, area);
    const A c = blob[4], s = blob[5], norm = c * c + s * s;
    xx = v.along * c * c + v.across * s * s;
    xy = (v.along - v.across) * c * s;
    yy = v.along * s * s + v.across * c * c;
    determinant = v.along * v.across * norm * norm;
  }
};

// How a sample sees one of its blobs.
template <class A> struct Blob {
  A x, y, size, strength;
  A a, b, e;    // d^2 = (a dx + b dy)^2 + (e dy)^2
  int64_t map;  // of the output

  GANVAS_BODY Blob(const A* blob, A area, int64_t map)
      : x(blob[0]), y(blob[1]), size(blob[2]), strength(blob[6]), map(map) {
    const Conic<A> conic(blob, area);
    const A inverse = 1 / std::sqrt(conic.xx + A(1.17549435e-38));
    a = conic.xx * inverse;
    b = conic.xy * inverse;
    e = std::sqrt(conic.determinant) * inverse;
  }

  GANVAS_BODY A logit(A dx, A dy) const {
    const A t = a * dx + b * dy, u = e * dy;
    return (size - u * u) - t * t;
  }
};

template <class A> struct Opacity {
  A sigma, opacity, clear;  // sigmoid(z), m sigmoid(z), and what that leaves of 1, to full precision

  GANVAS_BODY Opacity(A z, A strength) {
    const A small = exponential(z < 0 ? z : -z), large = reciprocal(1 + small);
    sigma = z < 0 ? small * large : large;
    opacity = strength * sigma;
    clear = (1 - strength) + strength * (z < 0 ? large : small * large);
  }

  GANVAS_BODY A log_clear() const { return logarithm(clear < A(1e-37) ? A(1e-37) : clear); }
};

// Gradients of a blob's numbers from its moments.
template <class A> GANVAS_BODY void blob_gradient(const A* blob, const A* moments, A area, A* out) {
  const Variances<A> v(blob, area);
  const Conic<A> conic(blob, area);
  const A t = blob[3], c = blob[4], s = blob[5];
  const A of_xx = -moments[3], of_xy = -2 * moments[4], of_yy = -moments[5];
  const A of_along = c * c * of_xx + c * s * of_xy + s * s * of_yy;
  const A of_across = s * s * of_xx - c * s * of_xy + c * c * of_yy;
  const A turn = (v.along - v.across) * of_xy;
  out[0] = 2 * (conic.xx * moments[1] + conic.xy * moments[2]);
  out[1] = 2 * (conic.xy * moments[1] + conic.yy * moments[2]);
  out[2] = moments[0];
  out[3] = area * (v.across * v.across * std::exp(-t) * of_across - v.along * v.along * std::exp(t) * of_along);
  out[4] = 2 * c * (v.along * of_xx + v.across * of_yy) + s * turn;
  out[5] = 2 * s * (v.across * of_xx + v.along * of_yy) + c * turn;
  out[6] = moments[6];
}

}  // namespace ganvas
