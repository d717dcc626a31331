// Compiled for AVX2 and FMA.
#include "onednn/winograd_kernels.hpp"

namespace caffe {
namespace {

const char kName[] = "winograd, AVX2";
const int kWidth = 8;
const int kTileRows = 6;
const int kChannelRows = 4;
typedef float Vector __attribute__((vector_size(32)));
typedef float UnalignedVector __attribute__((vector_size(32), aligned(4), may_alias));

// The first two of each four of both, in turns.
inline Vector Low(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13);
}
// The last two.
inline Vector High(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15);
}
// The first two of each four of one, then of the other.
inline Vector LowPairs(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13);
}
// The last two.
inline Vector HighPairs(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
}
// The lower halves of both.
inline Vector LowHalves(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11);
}
// The upper halves.
inline Vector HighHalves(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15);
}

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
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    v[i] = LowHalves(fours[i], fours[i + 4]);
    v[i + 4] = HighHalves(fours[i], fours[i + 4]);
  }
}

}  // namespace
}  // namespace caffe

#include "onednn/winograd_kernels_impl.hpp"

namespace caffe {
const WinogradKernels kWinogradAvx2 = kKernels;
}
