// The op ganvas::upfirdn2d (cuda_ops/upfirdn2d.py).
#include "tensors.h"
#include "upfirdn2d.h"

namespace ganvas {
namespace upfirdn2d_ops {

// How many zero taps before the filter make the padding a multiple of `up`.
inline int phase(int pad, int up) { return (up - pad % up) % up; }

// An output row of COLS values is stored in one access if the rows allow it; strides of `out` are those of a whole
// tensor, contiguous (out.x == 1) or channels_last (out.c == 1).
template <class T, int UP, int DOWN, int ROWS, int COLS, int LANES>
void launch_strips(const Tensor& x, const Resampling<T>& r) {
  UpfirdnStrip<T, UP, DOWN, ROWS, COLS, LANES> body{r};
  body.shift_y = phase(r.pad_y, UP);
  body.shift_x = phase(r.pad_x, UP);
  body.aligned = LANES == 1 && r.out_w % COLS == 0 && are_aligned({r.y});
  for_each(x, body.count(x.size(0)), body);
}

// Whether 16-byte packs of channels can be read and written.
template <class T> bool packs_of_channels(const Resampling<T>& r) {
  constexpr int N = Pack<T>::SIZE;
  const auto whole = [](const Steps& s) { return s.c == 1 && s.n % N == 0 && s.y % N == 0 && s.x % N == 0; };
  return r.channels % N == 0 && whole(r.in) && whole(r.out) && are_aligned({r.x, r.y});
}

// The cases of StyleGAN2 with filters of up to 4 taps; false for all others.
template <class T> bool launch_fast(const Tensor& x, const Resampling<T>& r) {
  constexpr int N = Pack<T>::SIZE;
  const auto fits = [&](int up, int down) {
    return r.up_x == up && r.up_y == up && r.down_x == down && r.down_y == down &&
           r.taps_y + phase(r.pad_y, up) <= 4 && r.taps_x + phase(r.pad_x, up) <= 4;
  };
  const bool packs = packs_of_channels(r);
  if (!packs && r.out.x != 1) return false;
  if (fits(1, 1)) {
    packs ? launch_strips<T, 1, 1, 4, 1, N>(x, r) : launch_strips<T, 1, 1, 8, 4, 1>(x, r);
  } else if (fits(2, 1)) {
    packs ? launch_strips<T, 2, 1, 2, 2, N>(x, r) : launch_strips<T, 2, 1, 8, 4, 1>(x, r);
  } else if (fits(1, 2)) {
    packs ? launch_strips<T, 1, 2, 2, 1, N>(x, r) : launch_strips<T, 1, 2, 4, 4, 1>(x, r);
  } else {
    return false;
  }
  return true;
}

Tensor upfirdn2d(const Tensor& x, const Tensor& f, std::vector<int64_t> up, std::vector<int64_t> down,
                 std::vector<int64_t> padding, bool flip, double gain, bool channels_last) {
  // Factors are (x, y), padding is (left, right, top, bottom).
  const int64_t n = x.size(0), c = x.size(1);
  const int64_t h = (x.size(2) * up[1] + padding[2] + padding[3] - f.size(0)) / down[1] + 1;
  const int64_t w = (x.size(3) * up[0] + padding[0] + padding[1] - f.size(1)) / down[0] + 1;
  const Tensor y = empty_images(x, {n, c, h, w}, channels_last);
  const Steps out_steps = channels_last ? Steps{h * w * c, 1, w * c, c} : Steps{c * h * w, h * w, w, 1};
  for_dtype(x.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    const auto i = [](int64_t v) { return static_cast<int>(v); };
    const int taps_y = i(f.size(0)), taps_x = i(f.size(1)), step_y = i(f.stride(0)), step_x = i(f.stride(1));
    // A convolution takes the filter from its end.
    const int64_t start = flip ? 0 : static_cast<int64_t>(taps_y - 1) * step_y + static_cast<int64_t>(taps_x - 1) * step_x;
    const Resampling<T> r{in<T>(x), in<Accumulate<T>>(f) + start, out<T>(y), c,
                          Steps{x.stride(0), x.stride(1), x.stride(2), x.stride(3)}, out_steps,
                          i(x.size(2)), i(x.size(3)), i(h), i(w), taps_y, taps_x,
                          flip ? step_y : -step_y, flip ? step_x : -step_x,
                          i(up[1]), i(up[0]), i(down[1]), i(down[0]), i(padding[2]), i(padding[0]),
                          static_cast<Accumulate<T>>(gain)};
    // On a GPU float64 is for checks of gradients only: not worth the seconds that its kernels take to compile.
    bool done = false;
    if constexpr (GANVAS_ON_HOST || !std::is_same_v<T, double>) done = launch_fast(x, r);
    if (!done) for_each(x, y.numel(), UpfirdnElement<T>{r, channels_last});
  });
  return y;
}

}  // namespace upfirdn2d_ops
}  // namespace ganvas

GANVAS_KERNELS(m) { m.impl("upfirdn2d", TORCH_BOX(&ganvas::upfirdn2d_ops::upfirdn2d)); }
