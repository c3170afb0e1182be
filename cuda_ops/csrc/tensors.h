// The host side of an op: checked tensors, dispatch on the dtype, launch, registration. Only headers of LibTorch's
// stable ABI: they compile in seconds, against a CPU build of torch too, and one build serves several versions.
//
// One source serves both backends. nvcc makes CUDA kernels of it, registered under the dispatch key CUDA; a C++
// compiler makes CPU kernels of the same bodies, under the key CPU (csrc/host.cpp, which the tests build).
#pragma once

#include <algorithm>
#include <initializer_list>
#include <vector>

#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include "common.h"

#ifdef __CUDACC__
#include <cuda_runtime.h>
#define GANVAS_KEY CUDA
constexpr bool GANVAS_ON_HOST = false;
#else
#define GANVAS_KEY CPU
constexpr bool GANVAS_ON_HOST = true;
#endif

// GANVAS_KERNELS(m) { m.impl("name", TORCH_BOX(&function)); }: kernels of ops whose schemas Python has defined.
#define GANVAS_KERNELS(m) STABLE_TORCH_LIBRARY_IMPL(ganvas, GANVAS_KEY, m)

namespace ganvas {

using torch::stable::Tensor;
using torch::headeronly::ScalarType;

template <class T> const T* in(const Tensor& t) { return static_cast<const T*>(t.const_data_ptr()); }
template <class T> const T* in(const std::optional<Tensor>& t) { return t ? in<T>(*t) : nullptr; }
template <class T> T* out(const Tensor& t) { return static_cast<T*>(t.mutable_data_ptr()); }

// Calls work(T{}) with the C++ type of `dtype`.
template <class Work> void for_dtype(ScalarType dtype, const Work& work) {
  switch (dtype) {
    case ScalarType::Float: return work(float{});
    case ScalarType::Half: return work(Half{});
    case ScalarType::BFloat16: return work(BFloat16{});
    case ScalarType::Double: return work(double{});
    default: STD_TORCH_CHECK(false, "ganvas kernels take float16, bfloat16, float32 and float64");
  }
}

// Whether each element of the span of memory is an element of the tensor, once: a permutation of a contiguous tensor.
inline bool is_dense(const Tensor& t) {
  std::vector<std::pair<int64_t, int64_t>> sides;  // (stride, size)
  for (int64_t i = 0; i < t.dim(); ++i)
    if (t.size(i) != 1) sides.emplace_back(t.stride(i), t.size(i));
  std::sort(sides.begin(), sides.end());
  int64_t expected = 1;
  for (const auto& [stride, size] : sides) {
    if (stride != expected) return false;
    expected *= size;
  }
  return true;
}

inline bool same_strides(const Tensor& a, const Tensor& b) {
  for (int64_t i = 0; i < a.dim(); ++i)
    if (a.size(i) != 1 && a.stride(i) != b.stride(i)) return false;
  return true;
}

// `t`, or a copy of it, in the dense layout that torch.empty_like(like) has.
inline Tensor laid_out_as(const Tensor& t, const Tensor& like) {
  if (same_strides(t, like) && is_dense(t)) return t;
  Tensor copy = torch::stable::empty_like(like);
  torch::stable::copy_(copy, t);
  return copy;
}

// [N, C, H, W] with the dtype and device of `x`.
inline Tensor empty_images(const Tensor& x, std::initializer_list<int64_t> sizes, bool channels_last) {
  using torch::headeronly::MemoryFormat;
  return torch::stable::empty(std::vector<int64_t>(sizes), x.scalar_type(), std::nullopt, x.device(), std::nullopt,
                              channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous);
}

// Whether every pointer (null or not) allows accesses of ACCESS_BYTES.
inline bool are_aligned(std::initializer_list<const void*> pointers) {
  return std::all_of(pointers.begin(), pointers.end(),
                     [](const void* p) { return reinterpret_cast<uintptr_t>(p) % ACCESS_BYTES == 0; });
}

constexpr int THREADS = 256;

#ifdef __CUDACC__

inline cudaStream_t current_stream(const Tensor& t) {
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(t.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

inline void check_launch() {
  const cudaError_t error = cudaGetLastError();
  STD_TORCH_CHECK(error == cudaSuccess, "ganvas kernel: ", cudaGetErrorString(error));
}

template <class Body> __global__ void __launch_bounds__(THREADS) run(Body body, int64_t count) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * THREADS;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * THREADS + threadIdx.x; i < count; i += step) body(i);
}

// body(i) for each i in [0, count), on the device of `where` and its current stream.
template <class Body> void for_each(const Tensor& where, int64_t count, const Body& body) {
  if (count == 0) return;
  const torch::stable::accelerator::DeviceGuard guard(where.get_device_index());
  const int64_t blocks = std::min<int64_t>((count + THREADS - 1) / THREADS, int64_t{1} << 30);
  run<<<static_cast<unsigned>(blocks), THREADS, 0, current_stream(where)>>>(body, count);
  check_launch();
}

#else

template <class Body> void for_each(const Tensor& /*where*/, int64_t count, const Body& body) {
  for (int64_t i = 0; i < count; ++i) body(i);
}

#endif

}  // namespace ganvas
