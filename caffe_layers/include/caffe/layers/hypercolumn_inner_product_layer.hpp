#ifndef CAFFE_HYPERCOLUMN_INNER_PRODUCT_LAYER_HPP_
#define CAFFE_HYPERCOLUMN_INNER_PRODUCT_LAYER_HPP_

#include <memory>
#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/layers/layer_checks.hpp"
#include "caffe/proto/caffe.pb.h"
#include "caffe/util/hypercolumn.hpp"
#include "caffe/util/synced_array.hpp"

namespace caffe {

class Bf16x2Gemm;

/**
 * @brief A fully connected layer on dense hypercolumns, without ever forming them.
 *
 * Projection and interpolation commute: a level that is coarser than the output is projected at its
 * own resolution and then upsampled; a finer one is sampled first. On the CPU the output is made in
 * bands of rows that fit the cache.
 *
 * @param bottom input Blob vector (length L, or L + 2 heads)
 *   -# … @f$ (N \times C_l \times H_l \times W_l) @f$ feature maps, one bottom per level
 *   -# … where `heads` is set, @f$ (K \times num\_output) @f$ weight and @f$ (K) @f$ bias of each
 * @param top output Blob vector (length 1, or heads)
 *   -# @f$ (N \times num\_output \times H' \times W') @f$, with H' = ceil(round(H_f scale_f) /
 *      stride) for the level f of the smallest scale. Output (j, i) belongs to the input pixel
 *      (j * stride + (stride - 1) / 2, i * stride + (stride - 1) / 2).
 *
 * The blobs have the shapes of InnerProduct, weight @f$ (num\_output \times \sum_l C_l) @f$ and
 * bias
 * @f$ (num\_output) @f$, so that weights trained on SparseHypercolumn + InnerProduct load as they
 * are; at its locations the output equals theirs.
 *
 * With `heads` each top is (N x K x H' x W'), an inner product of the rectified output (ReLU),
 * which is then never stored: at stride 1 it would be by far the largest blob of a net. This has no
 * gradient.
 */
template <typename Dtype>
class HypercolumnInnerProductLayer : public NamedBlobCounts<Layer, Dtype> {
 public:
  explicit HypercolumnInnerProductLayer(const LayerParameter& param)
      : NamedBlobCounts<Layer, Dtype>(param) {}
  virtual void LayerSetUp(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top);
  virtual void Reshape(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top);

  virtual inline const char* type() const { return "HypercolumnInnerProduct"; }
  virtual inline int MinBottomBlobs() const { return 1; }
  virtual inline int MinTopBlobs() const { return 1; }

 protected:
  virtual void CheckBlobCounts(const vector<Blob<Dtype>*>& bottom,
                               const vector<Blob<Dtype>*>& top) {
    NamedBlobCounts<Layer, Dtype>::CheckBlobCounts(bottom, top);
    const int heads = this->layer_param_.hypercolumn_inner_product_param().heads();
    CheckCount(this->layer_param_.name(), "bottoms", static_cast<int>(bottom.size()), -1,
               1 + 2 * heads, -1);
    CheckCount(this->layer_param_.name(), "tops", static_cast<int>(top.size()),
               heads > 0 ? heads : 1, -1, -1);
  }
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top);
  virtual void Forward_gpu(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top);
  virtual void Backward_cpu(const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
                            const vector<Blob<Dtype>*>& bottom);
  virtual void Backward_gpu(const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
                            const vector<Blob<Dtype>*>& bottom);

  /// The taps of one level for the output grid, and what their adjoint needs.
  struct Grid {
    SyncedArray<BilinearTap> rows, columns;
    SyncedArray<TapRange> row_ranges, column_ranges;
    std::vector<int> sizes;  // of the maps and of the output that they are for
    bool is_output;          // the output reads each cell, in order, and nothing between them
    bool projects_first;
  };
  /// Levels of one geometry that are projected first, and then interpolated together.
  struct Group {
    std::vector<size_t> levels;
    std::vector<Dtype> projected;  // (H_l * W_l, num_output) of one image
  };
  vector<Blob<Dtype>*> LevelBottoms(const vector<Blob<Dtype>*>& bottom) const;
  void MakeGroups();
  bool IsOutputGrid(size_t level) const;
  void CheckHeads(const vector<Blob<Dtype>*>& bottom) const;
  /// Maps (channels, count) with rows `row` values apart, times `multiplier`, and where their
  /// columns of the weights begin.
  struct Factor {
    const Dtype* maps;
    int row, first_channel, channels;
    double multiplier;
  };
  /// Adds the products of the factors and the weights to out (count, num_output).
  void AddProducts(const std::vector<Factor>& factors, int count, Dtype* out);
  /// Makes bf16x2_ if AddProducts shall use it in this pass; in float only.
  void PrepareProducts();
  void AddBf16x2Products(const std::vector<Factor>& factors, int count, Dtype* out);
  /// Output rows [first, first + rows) of an image into band_, (rows * W', num_output).
  void ForwardBand(const vector<Blob<Dtype>*>& bottom, int image, int first, int rows);
  /// Adds the projected levels to band_, and applies ReLU where there are heads.
  void FinishRows(int first, int rows);
  /// What band_ gives to the tops.
  void WriteBand(const vector<Blob<Dtype>*>& top, int image, int first, int rows) const;
  void WriteHeads(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top, int image,
                  int first, int rows);
  const Dtype* LevelData(const Blob<Dtype>& features, size_t level, int image) const;
  /// Room for one image's largest level, projected or sampled; the CPU needs it backward only.
  void ReshapeWorkspace();
  void RefuseGradientOfHeads() const;

  /// Whether projecting the level before interpolating costs less than the other way round.
  bool ProjectsFirst(const HypercolumnLevel& level) const;
  BilinearGrid GridOnCPU(size_t level) const;
  /// Interpolate `maps` maps of a level at output rows [first, first + rows), one map after the
  /// other.
  void Upsample(size_t level, int maps, int first, int rows, const Dtype* in, Dtype* out) const;
  /// The adjoint of Upsample; overwrites `in`.
  void UpsampleAdjoint(size_t level, int maps, const Dtype* out, Dtype* in) const;
#ifndef CPU_ONLY
  BilinearGrid GridOnGPU(size_t level) const;
#endif

  int num_output_;
  int heads_;
  int channels_;
  int stride_;
  int height_;
  int width_;
  std::vector<HypercolumnLevel> levels_;
  std::vector<Grid> grids_;  // of each level
  std::vector<Group> groups_;
  std::shared_ptr<Bf16x2Gemm> bf16x2_;  // where the products are faster so
  std::vector<Dtype> band_, sampled_;   // of ForwardBand
  Blob<Dtype> workspace_;               // a projected or a sampled level of one image
  Blob<Dtype> hidden_;                  // one image's output before the heads; GPU only
  Blob<Dtype> ones_;                    // one for each output, to sum them; GPU only
};

}  // namespace caffe

#endif  // CAFFE_HYPERCOLUMN_INNER_PRODUCT_LAYER_HPP_
