// What every kernel's arithmetic needs: it compiles for a GPU (nvcc) and for the CPU (any C++17 compiler), so that the
// same lines are tested without a GPU. No tensors here: see tensors.h.
#pragma once

#include <cmath>
#include <cstdint>

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#ifdef __CUDACC__
#define GANVAS_BODY __host__ __device__ __forceinline__
#define GANVAS_UNROLL _Pragma("unroll")
#else
#define GANVAS_BODY inline
#define GANVAS_UNROLL
#endif

namespace ganvas {

using Half = torch::headeronly::Half;
using BFloat16 = torch::headeronly::BFloat16;

// What sums and activations are computed in: fp32 for the half types.
template <class T> struct AccumulateIn { using type = float; };
template <> struct AccumulateIn<double> { using type = double; };
template <class T> using Accumulate = typename AccumulateIn<T>::type;

constexpr int ACCESS_BYTES = 16;  // the widest load and store of a thread

// Values that one access moves: by default as many as it can.
template <class T, int N = ACCESS_BYTES / static_cast<int>(sizeof(T))> struct alignas(N * sizeof(T)) Pack {
  static constexpr int SIZE = N;
  T value[N];
};

// `count` values from `from`: in one access where they are whole and aligned.
template <class T, int N = Pack<T>::SIZE> GANVAS_BODY Pack<T, N> load(const T* from, int count, bool aligned) {
  if (aligned && count == N) return *reinterpret_cast<const Pack<T, N>*>(from);
  Pack<T, N> pack{};
  GANVAS_UNROLL
  for (int i = 0; i < N; ++i)
    if (i < count) pack.value[i] = from[i];
  return pack;
}

template <class T, int N> GANVAS_BODY void store(T* to, const Pack<T, N>& pack, int count, bool aligned) {
  if (aligned && count == N) {
    *reinterpret_cast<Pack<T, N>*>(to) = pack;
    return;
  }
  GANVAS_UNROLL
  for (int i = 0; i < N; ++i)
    if (i < count) to[i] = pack.value[i];
}

// a / b for a >= 0, b > 0. A 64-bit division takes a GPU dozens of instructions: only numbers that need it pay for it.
GANVAS_BODY int64_t quotient(int64_t a, int64_t b) {
  if (((a | b) >> 32) == 0) return static_cast<uint32_t>(a) / static_cast<uint32_t>(b);
  return a / b;
}

}  // namespace ganvas
