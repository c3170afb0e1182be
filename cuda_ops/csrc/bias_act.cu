// The ops ganvas::bias_act, bias_act_backward, bias_act_backward_with_bias and bias_act_double_backward
// (cuda_ops/bias_act.py).
#include "bias_act.h"
#include "tensors.h"

namespace ganvas {
namespace bias_act_ops {

struct Settings {
  int64_t dim, act;
  double alpha, gain, clamp;
};

inline double slope_below_zero(const Settings& s) {
  switch (static_cast<Act>(s.act)) {
    case Act::Linear: return 1;
    case Act::Relu: return 0;
    default: return s.alpha;
  }
}

// Rounded as a result is, so that a result which was clamped is equal to it.
template <class T> Accumulate<T> bound(const Settings& s) { return static_cast<T>(s.clamp); }

template <int ORDER>
Tensor launch(const Tensor& x, const std::optional<Tensor>& bias, const Tensor* dy, const Tensor* ddx,
              const Settings& s) {
  Tensor y = torch::stable::empty_like(x);
  const Tensor xs = laid_out_as(x, x);
  std::optional<Tensor> biases, dys, ddxs;
  if (bias) biases = torch::stable::contiguous(*bias);
  if (dy) dys = laid_out_as(*dy, y);
  if (ddx) ddxs = laid_out_as(*ddx, y);
  const Channels channels{std::max<int64_t>(y.stride(s.dim), 1), x.size(s.dim)};
  const Act act = static_cast<Act>(s.act);
  for_dtype(x.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    using A = Accumulate<T>;
    const A alpha = slope_below_zero(s), gain = s.gain, clamp = bound<T>(s);
    const T *x_in = in<T>(xs), *bias_in = in<T>(biases), *dy_in = in<T>(dys), *ddx_in = in<T>(ddxs);
    T* y_out = out<T>(y);
    if (!is_piecewise_linear(act)) {
      for_each(x, x.numel(), Smooth<T, ORDER>{x_in, bias_in, dy_in, ddx_in, y_out, channels, act, gain, clamp});
    } else if constexpr (ORDER < 2) {
      using Body = PiecewiseLinear<T, ORDER>;
      const bool aligned = are_aligned({x_in, dy_in, y_out});
      for_each(x, Body::count(x.numel()),
               Body{x_in, bias_in, dy_in, y_out, x.numel(), channels, alpha, gain, clamp, aligned});
    }
  });
  return y;
}

Tensor forward(const Tensor& x, const std::optional<Tensor>& bias, int64_t dim, int64_t act, double alpha, double gain,
               double clamp) {
  return launch<0>(x, bias, nullptr, nullptr, {dim, act, alpha, gain, clamp});
}

Tensor backward(const Tensor& dy, const Tensor& reference, const std::optional<Tensor>& bias, int64_t dim, int64_t act,
                double alpha, double gain, double clamp) {
  return launch<1>(reference, bias, &dy, nullptr, {dim, act, alpha, gain, clamp});
}

std::tuple<Tensor, Tensor> backward_with_bias(const Tensor& dy, const Tensor& y, int64_t dim, int64_t act,
                                              double alpha, double gain, double clamp) {
  const Settings s{dim, act, alpha, gain, clamp};
  const Tensor dx = torch::stable::empty_like(y);
  const Tensor ys = laid_out_as(y, dx), dys = laid_out_as(dy, dx);
  const int64_t channels = y.size(dim), stride = std::max<int64_t>(dx.stride(dim), 1);
  const int64_t rows = std::max<int64_t>(channels, 1) * (y.numel() / std::max<int64_t>(channels * stride, 1));
  Tensor sums;
  for_dtype(y.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    using A = Accumulate<T>;
    using Body = PiecewiseLinearGradients<T>;
    const int64_t threads = Body::threads_for(stride, rows, std::max<int64_t>(channels, 1));
    const auto shape = stride > 1 ? std::vector<int64_t>{rows / std::max<int64_t>(channels, 1), channels, threads}
                                  : std::vector<int64_t>{threads, channels, 1};
    sums = torch::stable::new_empty(y, shape, sizeof(A) == sizeof(double) ? ScalarType::Double : ScalarType::Float);
    const PiecewiseLinear<T, 1> slope{in<T>(ys), nullptr, in<T>(dys), out<T>(dx), y.numel(), Channels{stride, channels},
                                      static_cast<A>(slope_below_zero(s)), static_cast<A>(gain), bound<T>(s), false};
    const bool aligned = Body::is_aligned(stride, channels) && are_aligned({slope.x, slope.dy, slope.out});
    const Body body{slope, out<A>(sums), rows, threads, aligned};
    if (y.numel() > 0) for_each(y, body.count(), body);
  });
  const std::vector<int64_t> others{0, 2};
  return {dx, torch::stable::to(torch::stable::sum(sums, others), y.scalar_type())};
}

Tensor double_backward(const Tensor& ddx, const Tensor& dy, const Tensor& x, const std::optional<Tensor>& bias,
                       int64_t dim, int64_t act, double alpha, double gain, double clamp) {
  return launch<2>(x, bias, &dy, &ddx, {dim, act, alpha, gain, clamp});
}

}  // namespace bias_act_ops
}  // namespace ganvas

GANVAS_KERNELS(m) {
  m.impl("bias_act", TORCH_BOX(&ganvas::bias_act_ops::forward));
  m.impl("bias_act_backward", TORCH_BOX(&ganvas::bias_act_ops::backward));
  m.impl("bias_act_backward_with_bias", TORCH_BOX(&ganvas::bias_act_ops::backward_with_bias));
  m.impl("bias_act_double_backward", TORCH_BOX(&ganvas::bias_act_ops::double_backward));
}
