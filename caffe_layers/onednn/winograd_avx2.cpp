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

// The rest of Transpose, when each four rows are transposed among themselves.
inline void TransposeFours(const Vector* fours, Vector* v) {
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
