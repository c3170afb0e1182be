// Kernels whose threads work together: a body gets a Block, its share of memory, barriers and exchanges within a warp.
//
// On a GPU these are the hardware's. A C++ compiler makes a block's threads coroutines that take turns, each until it
// waits for the others: so the tests run whole kernels, with their barriers and exchanges, on a machine without a GPU.
#pragma once

#include "tensors.h"

#ifdef __CUDACC__
#define GANVAS_DEVICE __device__ __forceinline__
#define GANVAS_ROLLED _Pragma("unroll 1")  // before loops of long bodies: to unroll them takes the compiler seconds
#else
#define GANVAS_DEVICE inline
#define GANVAS_ROLLED
#include <functional>
#include <memory>
#include <ucontext.h>
#endif

namespace ganvas {

constexpr int WARP = 32;

#ifdef __CUDACC__

struct Block {
  int64_t index;  // of the block
  int thread, threads;
  unsigned char* memory;  // shared, 16-byte aligned

  GANVAS_DEVICE void sync() const { __syncthreads(); }

  template <class A> GANVAS_DEVICE A exchange(A value, int mask) const {  // with thread ^ mask of the warp
    return __shfl_xor_sync(0xffffffffu, value, mask);
  }
};

template <class Body> __global__ void __launch_bounds__(THREADS, 2) run_blocks(Body body) {
  extern __shared__ __align__(16) unsigned char memory[];
  body(Block{static_cast<int64_t>(blockIdx.x), static_cast<int>(threadIdx.x), static_cast<int>(blockDim.x), memory});
}

// body(Block) on `blocks` blocks of `threads` threads (whole warps, at most THREADS) that share `bytes` of memory.
template <class Body>
void for_blocks(const Tensor& where, int64_t blocks, int threads, int64_t bytes, const Body& body) {
  if (blocks == 0) return;
  STD_TORCH_CHECK(blocks <= 0x7fffffff, "ganvas kernel: ", blocks, " blocks of threads are more than a GPU starts");
  const torch::stable::accelerator::DeviceGuard guard(where.get_device_index());
  if (bytes > 48 << 10)  // more than a kernel may have unasked
    cudaFuncSetAttribute(run_blocks<Body>, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
  run_blocks<Body><<<static_cast<unsigned>(blocks), threads, bytes, current_stream(where)>>>(body);
  check_launch();
}

#else

class Coroutines {
 public:
  explicit Coroutines(int count) : contexts(count), running(count, true) {}

  // work(i) for each i, taking turns at wait().
  void run(const std::function<void(int)>& work) {
    constexpr size_t STACK = 64 << 10;
    const int count = static_cast<int>(contexts.size());
    const auto stacks = std::make_unique<char[]>(STACK * count);
    task = [&](int i) { work(i); running[i] = false; };
    for (int i = 0; i < count; ++i) {
      getcontext(&contexts[i]);
      contexts[i].uc_stack.ss_sp = stacks.get() + i * STACK;
      contexts[i].uc_stack.ss_size = STACK;
      contexts[i].uc_link = &scheduler;
      const auto self = reinterpret_cast<uintptr_t>(this);
      makecontext(&contexts[i], reinterpret_cast<void (*)()>(&Coroutines::enter), 3, static_cast<unsigned>(self >> 32),
                  static_cast<unsigned>(self), i);
    }
    for (bool any = true; any;) {
      any = false;
      for (current = 0; current < count; ++current) {
        if (!running[current]) continue;
        swapcontext(&scheduler, &contexts[current]);
        any = true;
      }
    }
  }

  void wait() { swapcontext(&contexts[current], &scheduler); }

 private:
  static void enter(unsigned high, unsigned low, int i) {
    reinterpret_cast<Coroutines*>((static_cast<uintptr_t>(high) << 32) | low)->task(i);
  }

  std::vector<ucontext_t> contexts;
  std::vector<bool> running;
  std::function<void(int)> task;
  ucontext_t scheduler{};
  int current = 0;
};

// Lets its `count` callers go on when all of them have come.
class Barrier {
 public:
  explicit Barrier(int count) : count(count) {}
  void come(Coroutines& threads) {
    const int64_t generation = passed;
    if (++arrived == count) {
      arrived = 0;
      ++passed;
    }
    while (passed == generation) threads.wait();
  }

 private:
  int count, arrived = 0;
  int64_t passed = 0;
};

struct BlockState {
  explicit BlockState(int threads)
      : coroutines(threads), all(threads), slots(threads), warps(threads / WARP, Barrier(WARP)) {}

  Coroutines coroutines;
  Barrier all;
  std::vector<double> slots;  // values in exchange
  std::vector<Barrier> warps;
};

struct Block {
  int64_t index;
  int thread, threads;
  unsigned char* memory;
  BlockState* state;

  void sync() const { state->all.come(state->coroutines); }

  template <class A> A exchange(A value, int mask) const {
    Barrier& warp = state->warps[thread / WARP];
    state->slots[thread] = value;
    warp.come(state->coroutines);
    const A other = static_cast<A>(state->slots[thread ^ mask]);
    warp.come(state->coroutines);
    return other;
  }
};

template <class Body>
void for_blocks(const Tensor& /*where*/, int64_t blocks, int threads, int64_t bytes, const Body& body) {
  for (int64_t i = 0; i < blocks; ++i) {
    BlockState state(threads);
    std::vector<double> memory((bytes + sizeof(double) - 1) / sizeof(double), std::nan(""));  // as undefined as a GPU's
    state.coroutines.run([&](int thread) {
      body(Block{i, thread, threads, reinterpret_cast<unsigned char*>(memory.data()), &state});
    });
  }
}

#endif

// Sums over the warp of eight values a thread. Thread t gets that of value `summed_by(t)`.
template <class A> GANVAS_DEVICE A warp_sums(const Block& block, A (&value)[8]) {
  // At each step a thread keeps one half of its values and gives the other to the thread that keeps that.
  GANVAS_UNROLL
  for (int half = 4, mask = 1; half > 0; half /= 2, mask *= 2) {
    const bool upper = block.thread & mask;
    GANVAS_UNROLL
    for (int i = 0; i < half; ++i) {
      const A kept = upper ? value[i + half] : value[i], given = upper ? value[i] : value[i + half];
      value[i] = kept + block.exchange(given, mask);
    }
  }
  A sum = value[0];
  sum += block.exchange(sum, 8);
  return sum + block.exchange(sum, 16);
}

GANVAS_DEVICE int summed_by(int thread) { return (thread & 1) * 4 + (thread & 2) + (thread & 4) / 4; }

// The sum over the warp of one value a thread.
template <class A> GANVAS_DEVICE A warp_sum(const Block& block, A value) {
  GANVAS_UNROLL
  for (int mask = 1; mask < WARP; mask *= 2) value += block.exchange(value, mask);
  return value;
}

// How many of `count` values lie in the pack that starts at value i.
template <int N> GANVAS_BODY int in_pack(int64_t count, int i) {
  return count <= i ? 0 : count - i < N ? static_cast<int>(count - i) : N;
}

// Four neighbouring values, in as few accesses as can be where they are whole and aligned; zeros beyond `count`.
template <class T, class A> GANVAS_DEVICE void load4(const T* from, int64_t count, bool aligned, A (&to)[4]) {
  constexpr int N = Pack<T>::SIZE < 4 ? Pack<T>::SIZE : 4;
  GANVAS_UNROLL
  for (int i = 0; i < 4; i += N) {
    const Pack<T, N> pack = load<T, N>(from + i, in_pack<N>(count, i), aligned);
    GANVAS_UNROLL
    for (int j = 0; j < N; ++j) to[i + j] = static_cast<A>(pack.value[j]);
  }
}

template <class T, class A> GANVAS_DEVICE void store4(T* to, int64_t count, bool aligned, const A (&from)[4]) {
  constexpr int N = Pack<T>::SIZE < 4 ? Pack<T>::SIZE : 4;
  GANVAS_UNROLL
  for (int i = 0; i < 4; i += N) {
    Pack<T, N> pack;
    GANVAS_UNROLL
    for (int j = 0; j < N; ++j) pack.value[j] = static_cast<T>(from[i + j]);
    store(to + i, pack, in_pack<N>(count, i), aligned);
  }
}

// Values of a type that is known when a kernel runs, seen as A: fewer kernels to compile, where few values are read.
template <class A> struct Values {
  void* data;
  ScalarType dtype;

  template <class Work> GANVAS_DEVICE void as_typed(const Work& work) const {
    if constexpr (std::is_same_v<A, double>) {
      work(static_cast<double*>(data));
    } else {
      if (dtype == ScalarType::Float) work(static_cast<float*>(data));
      else if (dtype == ScalarType::Half) work(static_cast<Half*>(data));
      else work(static_cast<BFloat16*>(data));
    }
  }

  GANVAS_DEVICE A load(int64_t at) const {
    A value;
    as_typed([&](const auto* from) { value = static_cast<A>(from[at]); });
    return value;
  }

  GANVAS_DEVICE void store(int64_t at, A value) const {
    as_typed([&](auto* to) { to[at] = static_cast<std::decay_t<decltype(*to)>>(value); });
  }

  GANVAS_DEVICE void load4(int64_t at, int64_t count, bool aligned, A (&to)[4]) const {
    as_typed([&](const auto* from) { ganvas::load4(from + at, count, aligned, to); });
  }

  GANVAS_DEVICE void store4(int64_t at, int64_t count, bool aligned, const A (&from)[4]) const {
    as_typed([&](auto* to) { ganvas::store4(to + at, count, aligned, from); });
  }
};

template <class A> Values<A> values(const Tensor& t) {
  return {const_cast<void*>(t.const_data_ptr()), t.scalar_type()};
}

}  // namespace ganvas
