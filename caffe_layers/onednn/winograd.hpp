#ifndef CAFFE_ONEDNN_WINOGRAD_HPP_
#define CAFFE_ONEDNN_WINOGRAD_HPP_

#include <cstdint>
#include <cstdlib>
#include <new>

namespace caffe {

/**
 * @brief Convolution with 3 x 3 kernels, stride 1 and any padding by Winograd's algorithm
 * F(4x4, 3x3), which multiplies a quarter as often as the direct one (Lavin and Gray, "Fast
 * Algorithms for Convolutional Neural Networks", CVPR 2016).
 *
 * Maps are plain (N x C x H x W). Each tile of 4 x 4 outputs needs 6 x 6 inputs; both are
 * transformed to 36 positions, at each of which the convolution is a product of matrices. Blocks of
 * tiles go through transform, products and transform back while they are in the cache: 1 MiB of
 * values for each thread, but at least 96 tiles. A sum runs over the channels, or for the gradient
 * of weights over the tiles, in an order that the number of threads does not change, so that
 * results are the same bits for any.
 *
 * Results differ from those of the direct algorithm by about 1e-6 of the largest value.
 */
class Winograd {
 public:
  /// Values aligned to cache lines, which grow to the largest request.
  class Buffer {
   public:
    Buffer() {}
    ~Buffer() { Release(); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    float* Get(int64_t count) {
      if (count_ < count) {
        Release();
        const size_t bytes = (count * sizeof(float) + 63) / 64 * 64;
        values_ = static_cast<float*>(std::aligned_alloc(64, bytes));
        if (!values_) throw std::bad_alloc();
        count_ = count;
      }
      return values_;
    }
    void Release() {
      std::free(values_);
      values_ = nullptr;
      count_ = 0;
    }

   private:
    float* values_ = nullptr;
    int64_t count_ = 0;
  };
  /// What a pass needs for its own time; passes one after the other share it.
  struct Workspace {
    Buffer tiles, strips, weights, sums;
  };

  struct Shape {
    int images, channels, height, width, outputs, pad_h, pad_w;

    int output_height() const { return height + 2 * pad_h - 2; }
    int output_width() const { return width + 2 * pad_w - 2; }
    /// Of all images.
    int64_t tiles() const;
    /// The convolution that takes gradients of the outputs to those of the inputs.
    Shape Transposed() const;
  };

  /// Whether this processor has AVX2 and FMA, and ONEDNN_MAX_CPU_ISA does not forbid them.
  static bool IsSupported();
  /// The instructions that are used, for people to read.
  static const char* Name();

  /// Weights (outputs x channels x 3 x 3), or for a convolution that is Transposed() those of the
  /// one that it transposes (channels x outputs x 3 x 3), whose kernels it turns by 180 degrees.
  struct Weights {
    const float* values;
    bool transposed;
    /// Of TransformWeights, or null where none are needed.
    const float* transformed;
  };

  /// Whether Convolve wants transformed weights. For few tiles it transforms a part of the weights
  /// at a time, in the cache, and multiplies all tiles by it, which is faster than to read
  /// transformed weights from memory, where they take four times the space.
  static bool WantsTransformedWeights(const Shape& shape);
  /// Whether weights that stay the same should be kept transformed: there are many blocks of tiles,
  /// which each read all of them. For fewer it takes hardly longer to transform them in every pass,
  /// into memory that layers share.
  static bool KeepsTransformedWeights(const Shape& shape);
  /// How many values the transformed weights take.
  static int64_t TransformedWeights(const Shape& shape);
  /// Transforms weights; `out` is aligned to 64 bytes.
  static void TransformWeights(const Shape& shape, const float* weights, bool transposed,
                               float* out);

  /// out = the convolution of `in` with weights, plus `bias` (outputs values, or null), rectified
  /// if asked for.
  static void Convolve(const Shape& shape, const float* in, const Weights& weights,
                       const float* bias, bool rectify, Workspace* workspace, float* out);
  /// weights_diff += the gradient with respect to the weights.
  static void AddWeightsGradient(const Shape& shape, const float* in, const float* out_diff,
                                 Workspace* workspace, float* weights_diff);
};

}  // namespace caffe

#endif  // CAFFE_ONEDNN_WINOGRAD_HPP_
