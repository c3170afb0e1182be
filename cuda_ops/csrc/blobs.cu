// The ops ganvas::blob_splat and ganvas::spatial_modulation and their gradients (cuda_ops/blob_splat.py,
// cuda_ops/spatial_modulation.py).
#include "blob_splat.h"
#include "spatial_modulation.h"

namespace ganvas {
namespace blob_ops {
namespace {

Tensor empty(const Tensor& like, const std::vector<int64_t>& size, ScalarType dtype) {
  return torch::stable::new_empty(like, size, dtype);
}

// Of sums and factors for tensors of `dtype`.
ScalarType precise(ScalarType dtype) { return dtype == ScalarType::Double ? ScalarType::Double : ScalarType::Float; }

// Calls work(A{}) with the C++ type of precise(dtype). On a GPU float64 is for checks of gradients, which Python sends
// to the formula: its kernels would take seconds to compile.
template <class Work> void for_precision(ScalarType dtype, const Work& work) {
  if (precise(dtype) == ScalarType::Float) return work(float{});
  if constexpr (GANVAS_ON_HOST) return work(double{});
  STD_TORCH_CHECK(false, "ganvas has no kernels for float64 on a GPU here");
}

struct View {
  int64_t resolution, smallest;
  double area, offset;

  int levels() const {
    int count = 1;
    for (int64_t r = resolution; r > smallest; r /= 2) ++count;
    return count;
  }
};

template <class A>
Scene<A> scene_of(const Tensor& blobs, const std::optional<Tensor>& order, const View& view, const Tensor& first) {
  const int levels = std::min(view.levels(), WARP_LEVELS);
  const bool aligned = view.resolution % WIDE == 0 && are_aligned({first.const_data_ptr()});
  return {in<A>(blobs), in<int64_t>(order), blobs.size(0), blobs.size(1), static_cast<int>(view.resolution), levels,
          static_cast<A>(view.area), static_cast<A>(view.offset), aligned};
}

std::optional<Tensor> contiguous(const std::optional<Tensor>& t) {
  if (!t) return t;
  return torch::stable::contiguous(*t);
}

std::vector<Tensor> splat(const Tensor& blobs_, const std::optional<Tensor>& order_, int64_t resolution,
                          int64_t smallest, double area, double offset, ScalarType dtype) {
  const View view{resolution, smallest, area, offset};
  const Tensor blobs = torch::stable::contiguous(blobs_);
  const std::optional<Tensor> order = contiguous(order_);
  std::vector<Tensor> levels;
  for (int l = 0; l < view.levels(); ++l)
    levels.push_back(empty(blobs, {blobs.size(0), blobs.size(1) + 1, resolution >> l, resolution >> l}, dtype));
  for_precision(dtype, [&](auto zero) {
    using A = decltype(zero);
    Splat<A> body{scene_of<A>(blobs, order, view, levels[0]), {}, 0};
    for (int l = 0; l < body.scene.levels; ++l) body.level[l] = values<A>(levels[l]);
    body.blocks = body.scene.blocks_a_sample();
    for_blocks(blobs, body.scene.samples * body.blocks, THREADS, body.memory(), body);
    for (size_t l = WARP_LEVELS; l < levels.size(); ++l)
      for_each(blobs, levels[l].numel(), Halve<A>{values<A>(levels[l - 1]), values<A>(levels[l]), resolution >> l});
  });
  return levels;
}

Tensor splat_backward(std::vector<Tensor> grads, const Tensor& blobs_, const std::optional<Tensor>& order_,
                      int64_t resolution, int64_t smallest, double area, double offset) {
  const View view{resolution, smallest, area, offset};
  const Tensor blobs = torch::stable::contiguous(blobs_);
  const std::optional<Tensor> order = contiguous(order_);
  for (Tensor& grad : grads) grad = torch::stable::contiguous(grad);
  Tensor gradient = empty(blobs, {blobs.size(0), blobs.size(1), BLOB}, blobs.scalar_type());
  for_precision(grads[0].scalar_type(), [&](auto zero) {
    using A = decltype(zero);
    // Levels beyond those of a warp go into its last.
    for (int l = static_cast<int>(grads.size()) - 1; l >= WARP_LEVELS; --l) {
      Tensor sum = torch::stable::empty_like(grads[l - 1]);
      for_each(blobs, sum.numel(),
               AddHalf<A>{values<A>(grads[l - 1]), values<A>(grads[l]), values<A>(sum), resolution >> (l - 1)});
      grads[l - 1] = sum;
    }
    SplatBackward<A> body{scene_of<A>(blobs, order, view, grads[0]), {}, nullptr, 0};
    for (int l = 0; l < body.scene.levels; ++l) body.grad[l] = values<A>(grads[l]);
    const int64_t samples = body.scene.samples, k = body.scene.k;
    body.blocks = body.scene.blocks_a_sample();
    const Tensor moments = empty(blobs, {samples, body.blocks, k, MOMENTS}, blobs.scalar_type());
    body.moments = out<A>(moments);
    for_blocks(blobs, samples * body.blocks, THREADS, body.memory(), body);
    for_blocks(blobs, samples * k, WARP, MOMENTS * sizeof(A),
               SplatFinish<A>{in<A>(blobs), in<A>(moments), out<A>(gradient), k, body.blocks, body.scene.area});
  });
  return gradient;
}

// What both passes of the modulation start from, in one of the two layouts.
template <class A> struct Modulation {
  Tensor x, weights, styles, gram, inverse, scaled;
  int64_t samples, k, channels, pixels, row;
  bool last;  // channels_last

  Modulation(const Tensor& x_, const Tensor& weights_, const Tensor& styles_, double eps)
      : x(flat(x_)), weights(torch::stable::contiguous(weights_)),
        styles(torch::stable::to(torch::stable::contiguous(styles_), precise(x_.scalar_type()))), samples(x.size(0)),
        k(weights.size(1)), channels(x.size(1)), pixels(x.size(2) * x.size(3)), row(4 * ceil_div(k, 4)),
        last(!x.is_contiguous()) {
    const ScalarType dtype = precise(x.scalar_type());
    gram = empty(x, {samples, k, row}, dtype);
    inverse = empty(x, {samples, pixels}, dtype);
    scaled = empty(x, {samples, k, pixels}, dtype);
    for_blocks(x, samples * k, WARP, 0, Gram<A>{in<A>(styles), out<A>(gram), k, channels, row});
    const PixelWeights<A> w = pixel_weights();
    for_each(x, samples * w.groups(),
             NormaliseWeights<A>{w, out<A>(inverse), out<A>(scaled), static_cast<A>(eps), whole_fours()});
  }

  // `t` itself where its pixels have one stride, else a copy.
  static Tensor flat(const Tensor& t) {
    const bool channels_last = t.stride(1) == 1 && t.stride(3) == t.size(1) && t.stride(2) == t.size(1) * t.size(3) &&
                               t.stride(0) == t.size(1) * t.size(2) * t.size(3);
    return channels_last ? t : torch::stable::contiguous(t);
  }

  bool whole_fours() const { return pixels % FAST == 0; }

  PixelWeights<A> pixel_weights() const {
    return {values<A>(weights), in<A>(gram), k, pixels, row, whole_fours() && are_aligned({weights.const_data_ptr()})};
  }

  Factors<A> factors(bool aligned) const {
    const A *by_pixel = in<A>(scaled), *by_channel = in<A>(styles);
    const bool whole = aligned && (last ? channels : pixels) % FAST == 0;
    if (last) return {by_channel, by_pixel, k, channels, pixels, whole};
    return {by_pixel, by_channel, k, pixels, channels, whole};
  }
};

// `y`, or a copy of it, in the layout that torch.empty_like(x) has.
Tensor as_laid_out(const Tensor& y, const Tensor& x) {
  const Tensor like = torch::stable::empty_like(x);
  return laid_out_as(y, like);
}

Tensor modulate(const Tensor& x, const Tensor& weights, const Tensor& styles, double eps) {
  Tensor y;
  for_precision(x.scalar_type(), [&](auto zero) {
    using A = decltype(zero);
    const Modulation<A> m(x, weights, styles, eps);
    y = torch::stable::empty_like(m.x);
    const bool aligned = are_aligned({m.x.const_data_ptr(), y.const_data_ptr(), m.styles.const_data_ptr()});
    const Outer<A> body{m.factors(aligned), values<A>(m.x), values<A>(y)};
    for_each(x, body.count(m.samples), body);
  });
  return as_laid_out(y, x);
}

// Blocks that share the slow side, and the groups of each, so that a large GPU has work but few sums stay to be added.
std::pair<int64_t, int64_t> chunks_of(int64_t blocks, int64_t groups) {
  constexpr int64_t BLOCKS = 1024, LEAST_GROUPS = 8;
  const int64_t wanted = std::min(ceil_div(BLOCKS, std::max<int64_t>(blocks, 1)), ceil_div(groups, LEAST_GROUPS));
  const int64_t each = ceil_div(groups, std::max<int64_t>(wanted, 1));
  return {ceil_div(groups, each), each};
}

template <class A> void modulate_backward_into(const Modulation<A>& m, const Tensor& grad, const Tensor& of_x,
                                               const Tensor& of_weights, const Tensor& of_styles) {
  const ScalarType dtype = precise(m.x.scalar_type());
  const bool aligned = are_aligned(
      {m.x.const_data_ptr(), grad.const_data_ptr(), of_x.const_data_ptr(), m.styles.const_data_ptr()});
  const Factors<A> factors = m.factors(aligned);
  const auto [chunks, groups] = chunks_of(m.samples * factors.fast_tiles(), factors.slow_groups());
  const Tensor along_fast = empty(m.x, {m.samples, chunks, m.k, factors.fasts}, dtype);
  const Tensor along_slow = empty(m.x, {m.samples, factors.fast_tiles(), m.k, factors.slows}, dtype);
  const OuterBackward<A> outer{factors, values<A>(grad), values<A>(m.x), values<A>(of_x), out<A>(along_fast),
                               out<A>(along_slow), chunks, groups};
  int warps = 4;
  while (warps > 1 && warps * outer.warp_bytes() > 96 << 10) warps /= 2;
  for_blocks(m.x, outer.blocks(m.samples), warps * WARP, warps * outer.warp_bytes(), outer);

  const Tensor &by_pixel = m.last ? along_slow : along_fast, &by_channel = m.last ? along_fast : along_slow;
  const Tensor of_q = empty(m.x, {m.samples, m.pixels}, dtype);
  const PixelWeights<A> w = m.pixel_weights();
  for_each(m.x, m.samples * w.groups(), FinishWeights<A>{w, in<A>(m.inverse), in<A>(by_pixel), values<A>(of_weights),
                                                         out<A>(of_q), by_pixel.size(1), m.whole_fours()});
  const auto [parts, tiles] = chunks_of(m.samples, ceil_div(m.pixels, GRAM_TILE));
  const Tensor of_gram = empty(m.x, {m.samples, parts, m.k, m.k}, dtype);
  const GramGradient<A> gram{values<A>(m.weights), in<A>(of_q), out<A>(of_gram), m.k, m.pixels, parts,
                             tiles * GRAM_TILE};
  for_blocks(m.x, m.samples * parts, THREADS, gram.memory(THREADS), gram);
  const FinishStyles<A> styles{in<A>(m.styles), in<A>(by_channel), in<A>(of_gram), out<A>(of_styles), m.k, m.channels,
                               by_channel.size(1), parts};
  for_blocks(m.x, m.samples * m.k * styles.groups(), THREADS, styles.memory(THREADS), styles);
}

std::tuple<Tensor, Tensor, Tensor> modulate_backward(const Tensor& grad, const Tensor& x, const Tensor& weights,
                                                     const Tensor& styles, double eps) {
  Tensor of_x, of_styles, of_weights = empty(x, {x.size(0), weights.size(1), x.size(2), x.size(3)}, x.scalar_type());
  for_precision(x.scalar_type(), [&](auto zero) {
    using A = decltype(zero);
    const Modulation<A> m(x, weights, styles, eps);
    of_x = torch::stable::empty_like(m.x);
    of_styles = torch::stable::empty_like(m.styles);
    modulate_backward_into(m, laid_out_as(grad, m.x), of_x, of_weights, of_styles);
  });
  return {as_laid_out(of_x, x), of_weights, torch::stable::to(of_styles, x.scalar_type())};
}

}  // namespace
}  // namespace blob_ops
}  // namespace ganvas

GANVAS_KERNELS(m) {
  m.impl("blob_splat", TORCH_BOX(&ganvas::blob_ops::splat));
  m.impl("blob_splat_backward", TORCH_BOX(&ganvas::blob_ops::splat_backward));
  m.impl("spatial_modulation", TORCH_BOX(&ganvas::blob_ops::modulate));
  m.impl("spatial_modulation_backward", TORCH_BOX(&ganvas::blob_ops::modulate_backward));
}
