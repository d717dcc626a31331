#ifndef CAFFE_UTIL_BAND_FORWARD_HPP_
#define CAFFE_UTIL_BAND_FORWARD_HPP_

#include <memory>
#include <vector>

#include "caffe/util/dense_grid.hpp"

namespace caffe {

class Bf16x2Gemm;

/**
 * @brief The forward pass of HypercolumnInnerProduct on the CPU, in bands of rows of the grid.
 *
 * In a band, which fits the cache, the outputs of a cell lie side by side, and so they do in the
 * projected levels: interpolation then takes all outputs of a cell with the same weights.
 */
template <typename Dtype>
class BandForward {
 public:
  /// An inner product: weight (outputs x channels) and bias (outputs), which may be null.
  struct Product {
    const Dtype* weight;
    const Dtype* bias;
    int outputs, channels;
  };
  /// An inner product of the rectified outputs of `Product`, and where its maps (outputs, H', W')
  /// of the image go; `bias` is not null.
  struct Head {
    Product product;
    Dtype* out;
  };

  /// What the following images are multiplied with. `exact` multiplies floats as they are, which
  /// Bf16x2Gemm may be faster than. `grid` and the values are read by Run.
  void SetProduct(const DenseGrid& grid, const Product& product, bool exact);

  /// The outputs (outputs, H', W') of one image, whose level l is `maps[l]`.
  void Run(const std::vector<const Dtype*>& maps, Dtype* out);
  /// The same, rectified and multiplied with the heads: the outputs are not stored.
  void Run(const std::vector<const Dtype*>& maps, const std::vector<Head>& heads);

 private:
  /// Maps (channels, count) with rows `row` values apart, times `multiplier`, and where their
  /// columns of the weights begin.
  struct Factor {
    const Dtype* maps;
    int row, first_channel, channels;
    double multiplier;
  };

  /// Adds the products of the factors and the weights to out (count, outputs).
  void AddProducts(const std::vector<Factor>& factors, int count, Dtype* out);
  /// Makes bf16x2_ if AddProducts shall use it; in float only.
  void PrepareBf16x2(bool exact);
  void AddBf16x2Products(const std::vector<Factor>& factors, int count, Dtype* out);

  /// Makes the outputs band by band, and calls write(first row, rows) after each.
  template <typename Write>
  void ForEachBand(const std::vector<const Dtype*>& maps, bool rectify, const Write& write);
  /// Projects the groups of levels, each as a whole.
  void Project(const std::vector<const Dtype*>& maps);
  /// Rows [first, first + rows) of the grid into band_: the bias and the levels not projected
  /// first.
  void FillBand(const std::vector<const Dtype*>& maps, int first, int rows);
  /// Adds the projected levels to band_, and applies ReLU if `rectify`.
  void FinishBand(int first, int rows, bool rectify);
  void WriteBand(int first, int rows, Dtype* out) const;
  void WriteHead(const Head& head, int first, int rows) const;

  const DenseGrid* grid_ = nullptr;
  Product product_;
  std::shared_ptr<Bf16x2Gemm> bf16x2_;          // where the products are faster so
  std::vector<std::vector<Dtype> > projected_;  // (H_l * W_l, outputs) of each group
  std::vector<Dtype> band_;                     // (rows * W', outputs)
  std::vector<Dtype> sampled_;                  // levels of the band that are sampled first
};

}  // namespace caffe

#endif  // CAFFE_UTIL_BAND_FORWARD_HPP_
