#ifndef CAFFE_ONEDNN_BF16X2_GEMM_HPP_
#define CAFFE_ONEDNN_BF16X2_GEMM_HPP_

#include <memory>
#include <vector>

namespace caffe {

/**
 * @brief Products of float maps with float weights, by the bfloat16 tiles of the processor (AMX).
 *
 * Each value is the sum of two bfloat16 numbers, x = h + l, of which h has the upper 8 bits of the
 * mantissa and l the next 8. A product is then h h' + h l' + l h', summed in float: three products
 * of tiles, which are 8 times as fast as that of floats. What is left out is at most 2^-16 of a
 * product; the sums of the layers here differ by about 1e-6 of the largest.
 *
 * Not to be used by several threads at once; a call runs on all OpenMP threads, each of which takes
 * rows of `out` that fit its second-level cache through all factors.
 */
class Bf16x2Gemm {
 public:
  Bf16x2Gemm();
  ~Bf16x2Gemm();

  /// Whether this machine has such tiles, and oneDNN uses them.
  static bool IsFast();

  /// The weights of the following products, (outputs x channels) row by row. Their halves are kept
  /// for as long as the values stay the same.
  void SetWeights(const float* weights, int outputs, int channels);

  /// Maps (channels x count) whose rows lie `row` values apart, times `multiplier`, and where their
  /// columns of the weights begin.
  struct Factor {
    const float* maps;
    int row, first_channel, channels;
    float multiplier;
  };

  /// out (count x outputs) += the sum over the factors of multiplier * maps^T weights^T.
  void Add(const std::vector<Factor>& factors, int count, float* out);

 private:
  struct State;  // keeps oneDNN's headers out of this one
  std::unique_ptr<State> state_;
};

}  // namespace caffe

#endif  // CAFFE_ONEDNN_BF16X2_GEMM_HPP_
