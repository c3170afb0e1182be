// The ops ganvas::bias_act, ganvas::bias_act_backward and ganvas::bias_act_double_backward (cuda_ops/bias_act.py).
#include "bias_act.h"
#include "tensors.h"

namespace ganvas {
namespace bias_act_ops {

struct Settings {
  int64_t dim, act;
  double alpha, gain, clamp;
};

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
    const A alpha = act == Act::Linear ? 1 : act == Act::Relu ? 0 : s.alpha, gain = s.gain;
    const A clamp = static_cast<T>(s.clamp);  // rounded as y is, so that a clamped y is equal to it
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

Tensor double_backward(const Tensor& ddx, const Tensor& dy, const Tensor& x, const std::optional<Tensor>& bias,
                       int64_t dim, int64_t act, double alpha, double gain, double clamp) {
  return launch<2>(x, bias, &dy, &ddx, {dim, act, alpha, gain, clamp});
}

}  // namespace bias_act_ops
}  // namespace ganvas

GANVAS_KERNELS(m) {
  m.impl("bias_act", TORCH_BOX(&ganvas::bias_act_ops::forward));
  m.impl("bias_act_backward", TORCH_BOX(&ganvas::bias_act_ops::backward));
  m.impl("bias_act_double_backward", TORCH_BOX(&ganvas::bias_act_ops::double_backward));
}
