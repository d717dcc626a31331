// Compiled for AVX-512 (F, VL, DQ).
#include "onednn/winograd_kernels.hpp"

namespace caffe {
namespace {

const char kName[] = "winograd, AVX-512";
const int kWidth = 16;
const int kTileRows = 12;
const int kChannelRows = 8;
typedef float Vector __attribute__((vector_size(64)));
typedef float UnalignedVector __attribute__((vector_size(64), aligned(4), may_alias));

// The first two of each four of both, in turns.
inline Vector Low(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
}
// The last two.
inline Vector High(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
}
// The first two of each four of one, then of the other.
inline Vector LowPairs(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
}
// The last two.
inline Vector HighPairs(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
}
// Every other four of both, from the first on.
inline Vector EvenFours(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
}
// From the second on.
inline Vector OddFours(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
}

// The rest of Transpose, when each four rows are transposed among themselves.
inline void TransposeFours(const Vector* fours, Vector* v) {
  Vector eights[kWidth];
  // fours[4 r + c] has the columns c, 4 + c, 8 + c and 12 + c of the rows 4 r to 4 r + 3.
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    eights[i] = EvenFours(fours[i], fours[i + 4]);
    eights[i + 4] = OddFours(fours[i], fours[i + 4]);
    eights[i + 8] = EvenFours(fours[i + 8], fours[i + 12]);
    eights[i + 12] = OddFours(fours[i + 8], fours[i + 12]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    v[i] = EvenFours(eights[i], eights[i + 8]);
    v[i + 8] = OddFours(eights[i], eights[i + 8]);
    v[i + 4] = EvenFours(eights[i + 4], eights[i + 12]);
    v[i + 12] = OddFours(eights[i + 4], eights[i + 12]);
  }
}

}  // namespace
}  // namespace caffe

#include "onednn/winograd_kernels_impl.hpp"

namespace caffe {
const WinogradKernels kWinogradAvx512 = kKernels;
}
