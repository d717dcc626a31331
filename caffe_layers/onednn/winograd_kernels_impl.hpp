// The kernels of winograd_kernels.hpp, for a file that is compiled for one set of instructions and
// has defined, in an anonymous namespace:
//   Vector, UnalignedVector  kWidth floats
//   Low, High, LowPairs, HighPairs, TransposeFours  the steps of Transpose below
//   kTileRows                tiles that `multiply` keeps in registers beside two vectors of weights
//   kChannelRows             channels that `add_products` keeps in registers beside three vectors
// No header of the standard library with inline functions is included there: the linker could
// choose the copy of such a function that was compiled for instructions that a processor lacks.

namespace caffe {

namespace {

const int kLine = 16;  // floats of a cache line

inline int Least(int a, int b) { return a < b ? a : b; }
inline int Most(int a, int b) { return a > b ? a : b; }

inline Vector Load(const float* from) { return *reinterpret_cast<const Vector*>(from); }
inline void Store(const Vector& value, float* to) { *reinterpret_cast<Vector*>(to) = value; }
inline Vector LoadUnaligned(const float* from) {
  return *reinterpret_cast<const UnalignedVector*>(from);
}
inline void StoreUnaligned(const Vector& value, float* to) {
  *reinterpret_cast<UnalignedVector*>(to) = value;
}
inline Vector Zero() { return Vector{}; }
// Minus zero leaves every value as it is, so that this is one load; plus zero turns -0 into 0.
inline Vector Splat(float value) { return value - Vector{}; }

// Of kWidth rows.
inline void Transpose(Vector* v) {
  Vector pairs[kWidth], fours[kWidth];
#pragma GCC unroll 8
  for (int i = 0; i < kWidth; i += 2) {
    pairs[i] = Low(v[i], v[i + 1]);
    pairs[i + 1] = High(v[i], v[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < kWidth; i += 4) {
    fours[i] = LowPairs(pairs[i], pairs[i + 2]);
    fours[i + 1] = HighPairs(pairs[i], pairs[i + 2]);
    fours[i + 2] = LowPairs(pairs[i + 1], pairs[i + 3]);
    fours[i + 3] = HighPairs(pairs[i + 1], pairs[i + 3]);
  }
  TransposeFours(fours, v);
}

// ---- the one-dimensional transforms; `step` is the distance of their arguments, in vectors

struct TransformInputs {  // B^T
  static const int kIn = 6, kOut = 6;
  static inline void Apply(const Vector* d, int step, Vector* out) {
    const Vector d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step],
                 d5 = d[5 * step];
    const Vector even = d4 - 4.f * d2, odd = d3 - 4.f * d1;
    const Vector difference = d4 - d2, twice = 2.f * (d3 - d1);
    out[0] = 4.f * d0 - 5.f * d2 + d4;
    out[1] = even + odd;
    out[2] = even - odd;
    out[3] = difference + twice;
    out[4] = difference - twice;
    out[5] = 4.f * d1 - 5.f * d3 + d5;
  }
};

struct TransformGradients {  // A
  static const int kIn = 4, kOut = 6;
  static inline void Apply(const Vector* y, int step, Vector* out) {
    const Vector y0 = y[0], y1 = y[step], y2 = y[2 * step], y3 = y[3 * step];
    const Vector even = y0 + y2, odd = y1 + y3;
    const Vector wide_even = y0 + 4.f * y2, wide_odd = 2.f * y1 + 8.f * y3;
    out[0] = y0;
    out[1] = even + odd;
    out[2] = even - odd;
    out[3] = wide_even + wide_odd;
    out[4] = wide_even - wide_odd;
    out[5] = y3;
  }
};

struct TransformOutputs {  // A^T
  static const int kIn = 6, kOut = 4;
  static inline void Apply(const Vector* m, int step, Vector* out) {
    const Vector m1 = m[step], m2 = m[2 * step], m3 = m[3 * step], m4 = m[4 * step];
    const Vector sum = m1 + m2, difference = m1 - m2;
    const Vector wide_sum = m3 + m4, wide_difference = m3 - m4;
    out[0] = m[0] + sum + wide_sum;
    out[1] = difference + 2.f * wide_difference;
    out[2] = sum + 4.f * wide_sum;
    out[3] = difference + 8.f * wide_difference + m[5 * step];
  }
};

struct TransformWeights {  // G
  static const int kIn = 3, kOut = 6;
  static inline void Apply(const Vector* g, int step, Vector* out) {
    const Vector g0 = g[0], g1 = g[step], g2 = g[2 * step];
    const Vector even = (g0 + g2) * (-1.f / 6), odd = g1 * (1.f / 6);
    const Vector wide_even = g0 * (1.f / 24) + g2 * (1.f / 6), wide_odd = g1 * (1.f / 12);
    out[0] = g0 * 0.25f;
    out[1] = even - odd;
    out[2] = even + odd;
    out[3] = wide_even + wide_odd;
    out[4] = wide_even - wide_odd;
    out[5] = g2;
  }
};

struct TransformWeightsGradient {  // G^T
  static const int kIn = 6, kOut = 3;
  static inline void Apply(const Vector* u, int step, Vector* out) {
    const Vector sum = u[step] + u[2 * step], difference = u[2 * step] - u[step];
    const Vector wide_sum = u[3 * step] + u[4 * step];
    const Vector wide_difference = u[3 * step] - u[4 * step];
    out[0] = u[0] * 0.25f - sum * (1.f / 6) + wide_sum * (1.f / 24);
    out[1] = difference * (1.f / 6) + wide_difference * (1.f / 12);
    out[2] = wide_sum * (1.f / 6) - sum * (1.f / 6) + u[5 * step];
  }
};

// T x T^T of a square x whose rows lie `in_row` values apart and whose values `in_column`; the
// results lie likewise.
template <typename Transform>
inline void TransformSquare(const float* in, int64_t in_row, int64_t in_column, float* out,
                            int64_t out_row, int64_t out_column) {
  Vector half[Transform::kOut * Transform::kIn];
#pragma GCC unroll 6
  for (int x = 0; x < Transform::kIn; ++x) {
    Vector column[Transform::kIn], transformed[Transform::kOut];
#pragma GCC unroll 6
    for (int y = 0; y < Transform::kIn; ++y) column[y] = Load(in + y * in_row + x * in_column);
    Transform::Apply(column, 1, transformed);
#pragma GCC unroll 6
    for (int y = 0; y < Transform::kOut; ++y) half[y * Transform::kIn + x] = transformed[y];
  }
#pragma GCC unroll 6
  for (int y = 0; y < Transform::kOut; ++y) {
    Vector transformed[Transform::kOut];
    Transform::Apply(half + y * Transform::kIn, 1, transformed);
#pragma GCC unroll 6
    for (int x = 0; x < Transform::kOut; ++x) {
      Store(transformed[x], out + y * out_row + x * out_column);
    }
  }
}

// ---- maps, whose channels lie apart, and strips of pixels (rows x columns x kWidth channels)

// Zero outside of the map.
inline void ReadStrip(const TileRow& t, const float* maps, int rows, int columns, float* strip) {
  const int begin = Least(Most(0, -t.left), columns);
  const int end = Most(Least(columns, t.width - t.left), begin);
  for (int r = 0; r < rows; ++r) {
    float* out = strip + r * columns * kWidth;
    const int y = t.top + r;
    const bool inside = y >= 0 && y < t.height;
    for (int x = 0; x < (inside ? begin : columns); ++x) Store(Zero(), out + x * kWidth);
    if (!inside) continue;
    for (int x = end; x < columns; ++x) Store(Zero(), out + x * kWidth);
    const float* in = maps + static_cast<int64_t>(y) * t.width + t.left;
    int x = begin;
    // The last vector of a row lies over the one before, where the row is not a multiple of it.
    while (x < end && end - begin >= kWidth) {
      const int first = Least(x, end - kWidth);
      Vector values[kWidth];
      for (int c = 0; c < kWidth; ++c) {
        values[c] = c < t.channels ? LoadUnaligned(in + c * t.plane + first) : Zero();
      }
      Transpose(values);
      for (int i = 0; i < kWidth; ++i) Store(values[i], out + (first + i) * kWidth);
      x = first + kWidth;
    }
    for (; x < end; ++x) {
      for (int c = 0; c < kWidth; ++c) {
        out[x * kWidth + c] = c < t.channels ? in[c * t.plane + x] : 0.f;
      }
    }
  }
}

inline void WriteStrip(const TileRow& t, const float* strip, int rows, int columns, float* maps) {
  const int inside = Least(columns, t.width - t.left);
  for (int r = 0; r < Least(rows, t.height - t.top); ++r) {
    const float* in = strip + r * columns * kWidth;
    float* out = maps + static_cast<int64_t>(t.top + r) * t.width + t.left;
    int x = 0;
    while (x < inside && inside >= kWidth) {
      const int first = Least(x, inside - kWidth);
      Vector values[kWidth];
      for (int i = 0; i < kWidth; ++i) values[i] = Load(in + (first + i) * kWidth);
      Transpose(values);
      for (int c = 0; c < t.channels; ++c) StoreUnaligned(values[c], out + c * t.plane + first);
      x = first + kWidth;
    }
    for (; x < inside; ++x) {
      for (int c = 0; c < t.channels; ++c) out[c * t.plane + x] = in[x * kWidth + c];
    }
  }
}

template <typename Transform>
void TransformTiles(const TileRow& t, const float* maps, float* strip, float* out,
                    int64_t out_position) {
  const int columns = kTileOutputs * (t.tiles - 1) + Transform::kIn;
  ReadStrip(t, maps, Transform::kIn, columns, strip);
  for (int i = 0; i < t.tiles; ++i) {
    TransformSquare<Transform>(strip + i * kTileOutputs * kWidth, columns * kWidth, kWidth,
                               out + i * kWidth, kTileInputs * out_position, out_position);
  }
}

void TransformOutputTiles(const TileRow& t, const float* in, int64_t in_position, const float* bias,
                          bool rectify, float* strip, float* maps) {
  const int columns = kTileOutputs * t.tiles;
  const Vector shift = Load(bias);
  for (int i = 0; i < t.tiles; ++i) {
    TransformSquare<TransformOutputs>(in + i * kWidth, kTileInputs * in_position, in_position,
                                      strip + i * kTileOutputs * kWidth, columns * kWidth, kWidth);
  }
  for (int p = 0; p < kTileOutputs * columns; ++p) {
    Vector value = Load(strip + p * kWidth) + shift;
    if (rectify) value = value < Zero() ? Zero() : value;  // NaN stays
    Store(value, strip + p * kWidth);
  }
  WriteStrip(t, strip, kTileOutputs, columns, maps);
}

// ---- weights

// The 3 x 3 values of kWidth channels: out (channels x 9 x kWidth lanes).
inline void ReadKernels(const float* weights, int64_t lane, int lanes, int64_t channel,
                        int channels, float* out) {
  if (channel == 9 && channels == kWidth) {  // those of a lane lie one after the other
    for (int first = 0; first < 9 * kWidth; first += kWidth) {
      Vector values[kWidth];
      for (int l = 0; l < kWidth; ++l) {
        values[l] = l < lanes ? LoadUnaligned(weights + l * lane + first) : Zero();
      }
      Transpose(values);
      for (int i = 0; i < kWidth; ++i) Store(values[i], out + (first + i) * kWidth);
    }
    return;
  }
  for (int c = 0; c < channels; ++c) {
    for (int i = 0; i < 9; ++i) Store(Zero(), out + (c * 9 + i) * kWidth);
    for (int l = 0; l < lanes; ++l) {
      for (int i = 0; i < 9; ++i) {
        out[(c * 9 + i) * kWidth + l] = weights[c * channel + l * lane + i];
      }
    }
  }
}

void TransformWeightBlock(const float* weights, int64_t lane, int lanes, int64_t channel,
                          int channels, bool rotated, float* out, int64_t out_position) {
  alignas(64) float kernels[kWidth * 9 * kWidth];
  const int begin = rotated ? 8 * kWidth : 0, step = rotated ? -kWidth : kWidth;
  for (int first = 0; first < channels; first += kWidth) {
    const int count = Least(kWidth, channels - first);
    ReadKernels(weights + first * channel, lane, lanes, channel, count, kernels);
    for (int c = 0; c < count; ++c) {
      TransformSquare<TransformWeights>(kernels + c * 9 * kWidth + begin, 3 * step, step,
                                        out + (first + c) * kWidth, kTileInputs * out_position,
                                        out_position);
    }
  }
}

void AddWeightsGradientBlock(const float* in, int64_t in_position, int64_t lane, int lanes,
                             float* weights) {
  alignas(64) float kernel[9 * kWidth];
  TransformSquare<TransformWeightsGradient>(in, kTileInputs * in_position, in_position, kernel,
                                            3 * kWidth, kWidth);
  for (int l = 0; l < lanes; ++l) {
    for (int i = 0; i < 9; ++i) weights[l * lane + i] += kernel[i * kWidth + l];
  }
}

// ---- products

// out (kVectors vectors of each of kRows tiles) [+]= over the channels, maps times weights.
template <int kRows, int kVectors>
inline void MultiplyTile(int channels, bool add, const float* maps, int64_t maps_block,
                         const float* weights, int64_t weights_block, float* out,
                         int64_t out_block) {
  Vector sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      sums[i][j] = add ? Load(out + j * out_block + i * kWidth) : Zero();
    }
  }
  for (int first = 0; first < channels; first += kWidth) {
    const int count = Least(kWidth, channels - first);
    // The tiles that are multiplied next: the processor does not foresee them, as blocks of
    // channels lie pages apart.
    for (int i = 0; i < kRows * kWidth; i += kLine) {
      __builtin_prefetch(maps + kRows * kWidth + i);
    }
    for (int c = 0; c < count; ++c) {
      Vector factors[kVectors];
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) factors[j] = Load(weights + j * weights_block);
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
        const Vector value = Splat(maps[i * kWidth + c]);
#pragma GCC unroll 4
        for (int j = 0; j < kVectors; ++j) sums[i][j] += value * factors[j];
      }
      weights += kWidth;
    }
    maps += maps_block;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) Store(sums[i][j], out + j * out_block + i * kWidth);
  }
}

// The same for all tiles, of which the last are fewer than kRows.
template <int kRows, int kVectors>
struct MultiplyTiles {
  static inline void Run(int tiles, int channels, bool add, const float* maps, int64_t maps_block,
                         const float* weights, int64_t weights_block, float* out,
                         int64_t out_block) {
    // The weights that are multiplied next, fetched a part with each step.
    const int lines = channels * kWidth / kLine, groups = tiles / kRows + 1;
    const int part = (lines + groups - 1) / groups;
    const float* next = weights + kVectors * weights_block;
    for (; tiles >= kRows; tiles -= kRows) {
      for (int i = 0; i < part; ++i) {
#pragma GCC unroll 4
        for (int j = 0; j < kVectors; ++j) __builtin_prefetch(next + j * weights_block + i * kLine);
      }
      next += part * kLine;
      MultiplyTile<kRows, kVectors>(channels, add, maps, maps_block, weights, weights_block, out,
                                    out_block);
      maps += kRows * kWidth;
      out += kRows * kWidth;
    }
    if (tiles > 0) {
      const int kFewer = kRows > 8 ? 8 : kRows > 6 ? 6 : kRows > 4 ? 4 : kRows / 2;
      MultiplyTiles<kFewer, kVectors>::Run(tiles, channels, add, maps, maps_block, weights,
                                           weights_block, out, out_block);
    }
  }
};
template <int kVectors>
struct MultiplyTiles<0, kVectors> {
  static inline void Run(int, int, bool, const float*, int64_t, const float*, int64_t, float*,
                         int64_t) {}
};

void Multiply(int tiles, int channels, int blocks, bool add, const float* maps, int64_t maps_block,
              const float* weights, float* out, int64_t out_block) {
  const int64_t weights_block = static_cast<int64_t>(channels) * kWidth;
  for (int first = 0; first < channels; first += kChannelsAtOnce) {
    const int count = Least(kChannelsAtOnce, channels - first);
    const float* some_maps = maps + first / kWidth * maps_block;
    const bool adds = add || first > 0;
    int j = 0;
    for (; j + 2 <= blocks; j += 2) {
      MultiplyTiles<kTileRows, 2>::Run(tiles, count, adds, some_maps, maps_block,
                                       weights + j * weights_block + first * kWidth, weights_block,
                                       out + j * out_block, out_block);
    }
    if (j < blocks) {
      MultiplyTiles<kTileRows, 1>::Run(tiles, count, adds, some_maps, maps_block,
                                       weights + j * weights_block + first * kWidth, weights_block,
                                       out + j * out_block, out_block);
    }
  }
}

// out (kVectors vectors of each of kRows channels) += over the tiles, maps times gradients.
template <int kRows, int kVectors>
inline void AddProductsOfChannels(int tiles, const float* maps, const float* gradients,
                                  int64_t gradients_block, float* out, int64_t out_block) {
  Vector sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) sums[i][j] = Zero();
  }
  for (int t = 0; t < tiles; ++t) {
    Vector factors[kVectors];
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) factors[j] = Load(gradients + j * gradients_block);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const Vector value = Splat(maps[i]);
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) sums[i][j] += value * factors[j];
    }
    maps += kWidth;
    gradients += kWidth;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      float* to = out + j * out_block + i * kWidth;
      Store(Load(to) + sums[i][j], to);
    }
  }
}

template <int kVectors>
inline void AddProductsOfBlocks(int tiles, int channels, const float* maps, int64_t maps_block,
                                const float* gradients, int64_t gradients_block, float* out,
                                int64_t out_block) {
  for (int c = 0; c < channels; c += kChannelRows) {  // the last rows may be padding
    AddProductsOfChannels<kChannelRows, kVectors>(
        tiles, maps + c / kWidth * maps_block + c % kWidth, gradients, gradients_block,
        out + c * kWidth, out_block);
  }
}

void AddProducts(int tiles, int channels, int blocks, const float* maps, int64_t maps_block,
                 const float* gradients, int64_t gradients_block, float* out, int64_t out_block) {
  for (int j = 0; j < blocks;) {
    const int left = blocks - j;
    const float* some = gradients + j * gradients_block;
    float* to = out + j * out_block;
    if (left == 3 || left > 4) {
      AddProductsOfBlocks<3>(tiles, channels, maps, maps_block, some, gradients_block, to,
                             out_block);
      j += 3;
    } else if (left >= 2) {
      AddProductsOfBlocks<2>(tiles, channels, maps, maps_block, some, gradients_block, to,
                             out_block);
      j += 2;
    } else {
      AddProductsOfBlocks<1>(tiles, channels, maps, maps_block, some, gradients_block, to,
                             out_block);
      j += 1;
    }
  }
}

const WinogradKernels kKernels = {kWidth,
                                  kName,
                                  TransformTiles<TransformInputs>,
                                  TransformTiles<TransformGradients>,
                                  TransformOutputTiles,
                                  TransformWeightBlock,
                                  AddWeightsGradientBlock,
                                  Multiply,
                                  AddProducts};

}  // namespace

}  // namespace caffe
