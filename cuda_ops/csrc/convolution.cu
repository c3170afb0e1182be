// What stands beside library products: the ops channel_affine and upsample_sum, and their backward passes
// (cuda_ops/channel_affine.py, cuda_ops/upsample_sum.py).
#include "channel_affine.h"
#include "tensors.h"
#include "upsample_sum.h"

namespace ganvas {
namespace convolution_ops {

using torch::headeronly::MemoryFormat;

constexpr bool CONTIGUOUS = false, CHANNELS_LAST = true;

inline bool is_laid_out(const Tensor& x, bool last) {
  const int64_t c = x.size(1), h = x.size(2), w = x.size(3);
  const int64_t strides[] = {c * h * w, last ? 1 : h * w, last ? w * c : w, last ? c : 1};
  for (int i = 0; i < 4; ++i)
    if (x.size(i) != 1 && x.stride(i) != strides[i]) return false;
  return true;
}

// Whether the kernels take `x` as channels last; what is neither that nor contiguous is made contiguous.
inline bool is_last(const Tensor& x) { return !is_laid_out(x, CONTIGUOUS) && is_laid_out(x, CHANNELS_LAST); }

inline Tensor as_laid_out(const Tensor& x, bool last) {
  if (is_laid_out(x, last)) return x;
  Tensor copy = empty_images(x, {x.size(0), x.size(1), x.size(2), x.size(3)}, last);
  torch::stable::copy_(copy, x);
  return copy;
}

inline std::optional<Tensor> as_laid_out(const std::optional<Tensor>& x, bool last) {
  return x ? std::optional<Tensor>(as_laid_out(*x, last)) : std::nullopt;
}

// `result` with the strides of empty_like(x).
inline Tensor as_strided_like(const Tensor& result, const Tensor& x) {
  Tensor like = torch::stable::empty_like(x);
  if (same_strides(like, result)) return result;
  torch::stable::copy_(like, result);
  return like;
}

// body.part(team, lane) for all lanes of each team, summed; body.finish(team, sum).
#ifdef __CUDACC__

template <class Body> __global__ void __launch_bounds__(THREADS) run_teams(Body body, int64_t threads) {
  const int lanes = body.teams.lanes;
  const int64_t step = static_cast<int64_t>(gridDim.x) * THREADS, whole = (threads + 31) / 32 * 32;
  // Whole warps go round together: each lane of them is asked for its sums.
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * THREADS + threadIdx.x; i < whole; i += step) {
    const int64_t team = quotient(i, lanes);
    const int lane = static_cast<int>(i - team * lanes);
    typename Body::Sums sums{};
    if (i < threads) sums = body.part(team, lane);
    for (int apart = lanes / 2; apart > 0; apart /= 2)
#pragma unroll
      for (int kind = 0; kind < Body::Sums::KINDS; ++kind)
        sums.of[kind][0] += __shfl_down_sync(0xffffffffu, sums.of[kind][0], apart, lanes);
    if (i < threads && lane == 0) body.finish(team, sums);
  }
}

template <class Body> void for_each_team(const Tensor& where, const Body& body) {
  const int64_t threads = body.teams.count() * body.teams.lanes;
  if (threads == 0) return;
  const torch::stable::accelerator::DeviceGuard guard(where.get_device_index());
  const int64_t blocks = std::min<int64_t>((threads + THREADS - 1) / THREADS, int64_t{1} << 30);
  run_teams<<<static_cast<unsigned>(blocks), THREADS, 0, current_stream(where)>>>(body, threads);
  check_launch();
}

#else

template <class Body> void for_each_team(const Tensor& /*where*/, const Body& body) {
  for (int64_t team = 0; team < body.teams.count(); ++team) {
    typename Body::Sums sums = body.part(team, 0);
    for (int lane = 1; lane < body.teams.lanes; ++lane) {
      const typename Body::Sums more = body.part(team, lane);
      for (int kind = 0; kind < Body::Sums::KINDS; ++kind) sums.of[kind][0] += more.of[kind][0];
    }
    body.finish(team, sums);
  }
}

#endif

constexpr int64_t ENOUGH_THREADS = 1 << 18;  // to fill a large GPU: beyond that a thread gets more to do
constexpr int64_t LEAST_DEPTH = 4, MOST_DEPTH = 64;

template <class T> Teams teams_for(const Tensor& x, bool last) {
  Teams t{x.size(0), x.size(1), x.size(2) * x.size(3), last, false, Pack<T>::SIZE, 1, 1, 1};
  const int64_t units = std::max<int64_t>(t.units(), 1);
  while (!last && t.lanes < 32 && t.lanes < units) t.lanes *= 2;
  const int64_t share = t.samples * t.groups() * units / ENOUGH_THREADS;
  t.depth = std::min(std::clamp(share, LEAST_DEPTH, MOST_DEPTH), (units + t.lanes - 1) / t.lanes);
  t.parts = (units + t.lanes * t.depth - 1) / (t.lanes * t.depth);
  return t;
}

template <class T> bool whole_packs(const Teams& t) { return (t.last ? t.channels : t.pixels) % Pack<T>::SIZE == 0; }

template <class T> Table<Accumulate<T>> table(const std::optional<Tensor>& t) {
  if (!t) return {nullptr, 0, 0};
  return {in<Accumulate<T>>(*t), t->size(0) == 1 ? 0 : t->stride(0), t->stride(1)};
}

template <class T> Noise<T> noise_from(const std::optional<Tensor>& t) {
  if (!t) return {nullptr, 0};
  return {in<Accumulate<T>>(*t), t->size(0) == 1 ? 0 : t->size(2) * t->size(3)};
}

inline std::optional<Tensor> contiguous(const std::optional<Tensor>& t) {
  return t ? std::optional<Tensor>(torch::stable::contiguous(*t)) : std::nullopt;
}

// The bound as a stored T has it.
template <class T> Bend<Accumulate<T>> bend_from(double slope, double gain, double clamp) {
  using A = Accumulate<T>;
  return {static_cast<A>(slope), static_cast<A>(gain), static_cast<A>(static_cast<T>(static_cast<A>(clamp))),
          std::isfinite(clamp)};
}

Tensor channel_affine(const Tensor& x, const std::optional<Tensor>& scale, const std::optional<Tensor>& y,
                      const std::optional<Tensor>& y_scale, const std::optional<Tensor>& noise,
                      const std::optional<Tensor>& noise_scale, const std::optional<Tensor>& bias,
                      const std::optional<Tensor>& mask, double slope, double gain, double clamp) {
  const bool last = is_last(x);
  const Tensor xs = as_laid_out(x, last), result = torch::stable::empty_like(xs);
  const std::optional<Tensor> ys = as_laid_out(y, last), masks = as_laid_out(mask, last), noises = contiguous(noise);
  for_dtype(x.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    Teams teams = teams_for<T>(xs, last);
    const Noise<T> map = noise_from<T>(noises);
    teams.aligned =
        whole_packs<T>(teams) && are_aligned({in<T>(xs), in<T>(ys), in<T>(masks), map.at, out<T>(result)});
    const ChannelAffine<T> body{teams, in<T>(xs), in<T>(ys), in<T>(masks), out<T>(result), table<T>(scale),
                                table<T>(y_scale), table<T>(noise_scale), table<T>(bias), map,
                                bend_from<T>(slope, gain, clamp)};
    for_each(x, teams.count() * teams.lanes, body);
  });
  return as_strided_like(result, x);
}

std::tuple<Tensor, Tensor, Tensor, Tensor> channel_affine_backward(
    const Tensor& grad, const std::optional<Tensor>& x, const std::optional<Tensor>& scale,
    const std::optional<Tensor>& noise, const std::optional<Tensor>& mask, double slope, double gain, double clamp,
    int64_t want) {
  const bool last = is_last(grad);
  const auto wants = [&](int bit) { return (want >> bit & 1) != 0; };
  const Tensor grads = as_laid_out(grad, last);
  const std::optional<Tensor> xs = wants(1) ? as_laid_out(x, last) : std::nullopt, masks = as_laid_out(mask, last);
  const std::optional<Tensor> noises = wants(2) ? contiguous(noise) : std::nullopt;
  const auto type = grad.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  Tensor dx = wants(0) ? torch::stable::empty_like(grads) : torch::stable::new_empty(grad, {0});
  std::vector<Tensor> sums;
  for (int bit = 1; bit <= 3; ++bit) {
    const std::vector<int64_t> sizes = wants(bit) ? std::vector<int64_t>{grad.size(0), grad.size(1)}
                                                  : std::vector<int64_t>{0};
    sums.push_back(torch::stable::new_empty(grad, sizes, type));
  }
  for_dtype(grad.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    using A = Accumulate<T>;
    Teams teams = teams_for<T>(grads, last);
    const Noise<T> map = noise_from<T>(noises);
    T* to = wants(0) ? out<T>(dx) : nullptr;
    teams.aligned = whole_packs<T>(teams) && are_aligned({in<T>(grads), in<T>(xs), in<T>(masks), map.at, to});
    ChannelAffineBackward<T> body{teams, in<T>(grads), in<T>(xs), in<T>(masks), to, {},
                                  table<T>(scale), map, bend_from<T>(slope, gain, clamp)};
    const int64_t size = teams.samples * teams.channels;
    Tensor parts = teams.parts == 1 ? dx : torch::stable::new_empty(grad, {3, teams.parts, size}, type);
    for (int kind = 0; kind < 3; ++kind)
      if (wants(kind + 1))
        body.sums[kind] = teams.parts == 1 ? out<A>(sums[kind]) : out<A>(parts) + kind * teams.parts * size;
    for_each_team(grad, body);
    for (int kind = 0; kind < 3 && teams.parts > 1; ++kind)
      if (wants(kind + 1)) for_each(grad, size, SumOfParts<A>{body.sums[kind], out<A>(sums[kind]), teams.parts, size});
  });
  if (wants(0)) dx = as_strided_like(dx, grad);
  return {dx, sums[0], sums[1], sums[2]};
}

// `places` holds for each map top, left, height and width: where it begins in a map of that size. `window` holds top,
// left, height and width of the part of the output, then height and width of the whole.
inline Axis axis(const std::vector<int64_t>& places, size_t map, int across, int64_t length,
                 const std::vector<int64_t>& window, bool nearest) {
  const auto at = [&](size_t i) { return static_cast<int>(places[4 * map + i + across]); };
  return {at(0), static_cast<int>(length), at(2), static_cast<int>(window[4 + across]), nearest};
}

Tensor upsample_sum(std::vector<Tensor> maps, std::vector<int64_t> places, std::vector<int64_t> window, bool nearest) {
  STD_TORCH_CHECK(maps.size() <= MOST_LEVELS, "upsample_sum takes at most 16 maps");
  const Tensor& x = maps[0];
  const bool last = is_last(x);
  const Tensor result = empty_images(x, {x.size(0), x.size(1), window[2], window[3]}, last);
  std::vector<Tensor> dense;
  for (const Tensor& map : maps) dense.push_back(as_laid_out(map, last));
  for_dtype(x.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    UpsampleSum<T> body{};
    body.count = static_cast<int>(maps.size());
    body.out = out<T>(result);
    body.f = {static_cast<int>(window[0]), static_cast<int>(window[1]), static_cast<int>(window[2]),
              static_cast<int>(window[3]), x.size(0), x.size(1), last};
    body.aligned = (last ? x.size(1) : window[3]) % body.COLS == 0 && are_aligned({body.out});
    for (size_t i = 0; i < dense.size(); ++i) {
      body.levels[i] = {in<T>(dense[i]), axis(places, i, 0, dense[i].size(2), window, nearest),
                        axis(places, i, 1, dense[i].size(3), window, nearest)};
      body.aligned = body.aligned && are_aligned({in<T>(dense[i])});
    }
    for_each(x, body.strips(), body);
  });
  return result;
}

std::vector<Tensor> upsample_sum_backward(const Tensor& grad, std::vector<int64_t> sizes, std::vector<int64_t> places,
                                          std::vector<int64_t> window, bool nearest) {
  const size_t count = sizes.size() / 2;
  STD_TORCH_CHECK(count <= MOST_LEVELS, "upsample_sum takes at most 16 maps");
  const bool last = is_last(grad);
  const Tensor grads = as_laid_out(grad, last);
  const int64_t n = grad.size(0), c = grad.size(1), maps = last ? n : n * c, channels = last ? c : 1;
  const auto type = grad.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  std::vector<Tensor> rows, result;
  for (size_t i = 0; i < count; ++i) {
    rows.push_back(torch::stable::new_zeros(grad, {maps, sizes[2 * i], window[3] * channels}, type));
    result.push_back(empty_images(grad, {n, c, sizes[2 * i], sizes[2 * i + 1]}, last));
  }
  for_dtype(grad.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    using A = Accumulate<T>;
    UpsampleSumRows<T> body{};
    body.count = static_cast<int>(count);
    body.grad = in<T>(grads);
    body.across = window[3] * channels;
    body.top = static_cast<int>(window[0]);
    body.height = static_cast<int>(window[2]);
    for (size_t i = 0; i < count; ++i)
      body.levels[i] = {out<A>(rows[i]), axis(places, i, 0, sizes[2 * i], window, nearest),
                        axis(places, i, 1, sizes[2 * i + 1], window, nearest)};
    for_each(grad, maps * body.across, body);
    for (size_t i = 0; i < count; ++i) {
      const UpsampleSumColumns<T> columns{{out<T>(result[i]), body.levels[i].rows, body.levels[i].columns},
                                          in<A>(rows[i]), channels, static_cast<int>(window[1]),
                                          static_cast<int>(window[3])};
      for_each(grad, result[i].numel(), columns);
    }
  });
  return result;
}

}  // namespace convolution_ops
}  // namespace ganvas

GANVAS_KERNELS(m) {
  m.impl("channel_affine", TORCH_BOX(&ganvas::convolution_ops::channel_affine));
  m.impl("channel_affine_backward", TORCH_BOX(&ganvas::convolution_ops::channel_affine_backward));
  m.impl("upsample_sum", TORCH_BOX(&ganvas::convolution_ops::upsample_sum));
  m.impl("upsample_sum_backward", TORCH_BOX(&ganvas::convolution_ops::upsample_sum_backward));
}
