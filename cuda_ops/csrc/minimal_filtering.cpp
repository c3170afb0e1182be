// The linear maps of 3x3 convolutions by minimal filtering (cuda_ops/conv3x3.py), for the CPU. Plain PyTorch reads and
// writes a tile's numbers for each addition; here a tile stays in registers between the one reading and the one writing.
//
// Images are [N, H, W, C], C contiguous; tiles are counted over images, rows and columns; points are [36, tiles, C]. A
// tile is treated for as many channels at a time as a vector of the processor holds, and for those left over singly.
#include <cstring>

#include "tensors.h"

namespace ganvas {
namespace minimal_filtering {

constexpr int TILE = 4, POINTS = 6;
constexpr double A = 0.70710678118654752440, B = 1.41421356237309504880, AA = 0.5, BB = 2;  // AA BB = 1

constexpr int VECTOR_BYTES = 64;  // narrower processors take several of theirs for one
template <class S> struct VectorOf { typedef S type __attribute__((vector_size(VECTOR_BYTES))); };

template <class V, class S> inline V get(const S* from) {
  V value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <class V, class S> inline void put(S* to, V value) { std::memcpy(to, &value, sizeof value); }

// One side of the maps: from d, `step` apart, to o, `apart` apart.

template <class S> struct InputSide {  // 6 to 6
  static constexpr int FROM = POINTS, TO = POINTS;
  template <class V> static inline void map(const V* d, int step, V* o, int apart) {
    const V d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step], d5 = d[5 * step];
    const V even_a = d4 - S(BB) * d2, odd_a = S(A) * (d3 - S(BB) * d1);
    const V even_b = d4 - S(AA) * d2, odd_b = S(B) * (d3 - S(AA) * d1);
    o[0] = d0 + d4 - S(AA + BB) * d2;
    o[apart] = even_a + odd_a;
    o[2 * apart] = even_a - odd_a;
    o[3 * apart] = even_b + odd_b;
    o[4 * apart] = even_b - odd_b;
    o[5 * apart] = d1 + d5 - S(AA + BB) * d3;
  }
};

template <class S> struct OutputSide {  // 6 to 4
  static constexpr int FROM = POINTS, TO = TILE;
  template <class V> static inline void map(const V* m, int step, V* o, int apart) {
    const V even_a = m[step] + m[2 * step], odd_a = S(A) * (m[step] - m[2 * step]);
    const V even_b = m[3 * step] + m[4 * step], odd_b = S(B) * (m[3 * step] - m[4 * step]);
    o[0] = m[0] + even_a + even_b;
    o[apart] = odd_a + odd_b;
    o[2 * apart] = S(AA) * even_a + S(BB) * even_b;
    o[3 * apart] = m[5 * step] + S(AA) * odd_a + S(BB) * odd_b;
  }
};

template <class S> struct GradientSide {  // 4 to 6, the transpose of OutputSide
  static constexpr int FROM = TILE, TO = POINTS;
  template <class V> static inline void map(const V* y, int step, V* o, int apart) {
    const V y0 = y[0], y1 = y[step], y2 = y[2 * step], y3 = y[3 * step];
    const V even_a = y0 + S(AA) * y2, odd_a = S(A) * (y1 + S(AA) * y3);
    const V even_b = y0 + S(BB) * y2, odd_b = S(B) * (y1 + S(BB) * y3);
    o[0] = y0;
    o[apart] = even_a + odd_a;
    o[2 * apart] = even_a - odd_a;
    o[3 * apart] = even_b + odd_b;
    o[4 * apart] = even_b - odd_b;
    o[5 * apart] = y3;
  }
};

// Both sides, of a square.
template <class Side, class V> inline void map_square(const V* from, V* to) {
  V half[Side::TO * Side::FROM];
  for (int j = 0; j < Side::FROM; ++j) Side::map(from + j, Side::FROM, half + j, Side::FROM);
  for (int i = 0; i < Side::TO; ++i) Side::map(half + i * Side::FROM, 1, to + i * Side::TO, 1);
}

struct Shape {
  int64_t images, height, width, channels, image_stride, row_stride;

  explicit Shape(const Tensor& x)
      : images(x.size(0)), height(x.size(1)), width(x.size(2)), channels(x.size(3)), image_stride(x.stride(0)),
        row_stride(x.stride(1)) {
    STD_TORCH_CHECK((channels == 1 || x.stride(3) == 1) && x.stride(2) == channels,
                    "minimal filtering takes images with channels last");
    STD_TORCH_CHECK(height % TILE == 0 && width % TILE == 0, "minimal filtering takes images of whole tiles");
  }
};

// body(image, top, left, tile) for the tiles of images of `rows` rows, with the threads that PyTorch has.
template <class Body> void for_each_tile(const Shape& s, int64_t rows, const Body& body) {
  constexpr int64_t NUMBERS = 1 << 15;  // that are worth a thread
  const int64_t down = rows / TILE, across = s.width / TILE;
  const int64_t grain = std::max<int64_t>(NUMBERS / (POINTS * POINTS * std::max<int64_t>(s.channels, 1)), 1);
  torch::stable::parallel_for(0, s.images * down * across, grain, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t row = tile / across;
      body(row / down, row % down * TILE, tile % across * TILE, tile);
    }
  });
}

template <class S, class Work> inline void for_channels(int64_t channels, const Work& work) {
  using V = typename VectorOf<S>::type;
  constexpr int64_t LANES = VECTOR_BYTES / sizeof(S);
  int64_t c = 0;
  for (; c + LANES <= channels; c += LANES) work(c, V{});
  for (; c < channels; ++c) work(c, S{});
}

template <class Work> void for_real(ScalarType dtype, const Work& work) {
  if (dtype == ScalarType::Double) return work(double{});
  STD_TORCH_CHECK(dtype == ScalarType::Float, "minimal filtering takes float32 and float64");
  work(float{});
}

// Overlapping 6x6 tiles of the rows from `top` to `bottom`, zeros around the images: [36, tiles, C].
Tensor input_points(const Tensor& x, int64_t top, int64_t bottom) {
  const Shape s(x);
  STD_TORCH_CHECK(0 <= top && top <= bottom && bottom <= s.height && (bottom - top) % TILE == 0,
                  "minimal filtering takes whole tiles of rows that the images have");
  const int64_t tiles = s.images * ((bottom - top) / TILE) * (s.width / TILE);
  Tensor points = torch::stable::new_empty(x, {POINTS * POINTS, tiles, s.channels});
  for_real(x.scalar_type(), [&](auto zero) {
    using S = decltype(zero);
    const S* images = in<S>(x);
    S* to = out<S>(points);
    for_each_tile(s, bottom - top, [&](int64_t image, int64_t row, int64_t left, int64_t tile) {
      const S* const corner = images + image * s.image_stride + (top + row - 1) * s.row_stride + (left - 1) * s.channels;
      // Rows and columns of the tile that the image has.
      const int first_row = top + row == 0, last_row = top + row + TILE == s.height ? TILE : TILE + 1;
      const int first = left == 0, last = left + TILE == s.width ? TILE : TILE + 1;
      const bool inside = first_row + first == 0 && last_row + last == 2 * (TILE + 1);
      for_channels<S>(s.channels, [&](int64_t c, auto kind) {
        using V = decltype(kind);
        V d[POINTS * POINTS], o[POINTS * POINTS];
        for (int i = 0; i < POINTS; ++i)
          for (int j = 0; j < POINTS; ++j) {
            const bool there = inside || (i >= first_row && i <= last_row && j >= first && j <= last);
            d[i * POINTS + j] = there ? get<V>(corner + i * s.row_stride + j * s.channels + c) : V{};
          }
        map_square<InputSide<S>>(d, o);
        for (int p = 0; p < POINTS * POINTS; ++p) put(to + (p * tiles + tile) * s.channels + c, o[p]);
      });
    });
  });
  return points;
}

// Products of points, [36, tiles, C], into the 4x4 tiles of `y`.
void output_from_points(const Tensor& products, Tensor y) {
  const Shape s(y);
  const int64_t tiles = s.images * (s.height / TILE) * (s.width / TILE);
  STD_TORCH_CHECK(products.is_contiguous() && products.scalar_type() == y.scalar_type() && products.dim() == 3 &&
                      products.size(0) == POINTS * POINTS && products.size(1) == tiles &&
                      products.size(2) == s.channels,
                  "minimal filtering takes contiguous products of the images' tiles and type");
  for_real(y.scalar_type(), [&](auto zero) {
    using S = decltype(zero);
    const S* from = in<S>(products);
    S* images = out<S>(y);
    for_each_tile(s, s.height, [&](int64_t image, int64_t row, int64_t left, int64_t tile) {
      S* const to = images + image * s.image_stride + row * s.row_stride + left * s.channels;
      for_channels<S>(s.channels, [&](int64_t c, auto kind) {
        using V = decltype(kind);
        V m[POINTS * POINTS], o[TILE * TILE];
        for (int p = 0; p < POINTS * POINTS; ++p) m[p] = get<V>(from + (p * tiles + tile) * s.channels + c);
        map_square<OutputSide<S>>(m, o);
        for (int i = 0; i < TILE; ++i)
          for (int j = 0; j < TILE; ++j) put(to + i * s.row_stride + j * s.channels + c, o[i * TILE + j]);
      });
    });
  });
}

// The transpose of output_from_points: [N, H, W, C] to [36, tiles, C].
Tensor gradient_points(const Tensor& grad) {
  const Shape s(grad);
  const int64_t tiles = s.images * (s.height / TILE) * (s.width / TILE);
  Tensor points = torch::stable::new_empty(grad, {POINTS * POINTS, tiles, s.channels});
  for_real(grad.scalar_type(), [&](auto zero) {
    using S = decltype(zero);
    const S* images = in<S>(grad);
    S* to = out<S>(points);
    for_each_tile(s, s.height, [&](int64_t image, int64_t row, int64_t left, int64_t tile) {
      const S* const from = images + image * s.image_stride + row * s.row_stride + left * s.channels;
      for_channels<S>(s.channels, [&](int64_t c, auto kind) {
        using V = decltype(kind);
        V y[TILE * TILE], o[POINTS * POINTS];
        for (int i = 0; i < TILE; ++i)
          for (int j = 0; j < TILE; ++j) y[i * TILE + j] = get<V>(from + i * s.row_stride + j * s.channels + c);
        map_square<GradientSide<S>>(y, o);
        for (int p = 0; p < POINTS * POINTS; ++p) put(to + (p * tiles + tile) * s.channels + c, o[p]);
      });
    });
  });
  return points;
}

}  // namespace minimal_filtering
}  // namespace ganvas

GANVAS_KERNELS(m) {
  m.impl("conv3x3_input_points", TORCH_BOX(&ganvas::minimal_filtering::input_points));
  m.impl("conv3x3_output_from_points", TORCH_BOX(&ganvas::minimal_filtering::output_from_points));
  m.impl("conv3x3_gradient_points", TORCH_BOX(&ganvas::minimal_filtering::gradient_points));
}
