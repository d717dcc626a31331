#ifndef CAFFE_HYPERCOLUMN_INNER_PRODUCT_LAYER_HPP_
#define CAFFE_HYPERCOLUMN_INNER_PRODUCT_LAYER_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/layers/layer_checks.hpp"
#include "caffe/proto/caffe.pb.h"
#include "caffe/util/hypercolumn.hpp"
#include "caffe/util/synced_array.hpp"

namespace caffe {

/**
 * @brief A fully connected layer on dense hypercolumns, without ever forming them.
 *
 * Projection and interpolation commute: a level that is coarser than the output is projected at its
 * own resolution and then upsampled; a finer one is sampled first.
 *
 * @param bottom input Blob vector (length L)
 *   -# … @f$ (N \times C_l \times H_l \times W_l) @f$ feature maps, one bottom per level
 * @param top output Blob vector (length 1)
 *   -# @f$ (N \times num\_output \times H' \times W') @f$, with H' = ceil(round(H_f scale_f) /
 *      stride) for the level f of the smallest scale. Output (j, i) belongs to the input pixel
 *      (j * stride + (stride - 1) / 2, i * stride + (stride - 1) / 2).
 *
 * The blobs have the shapes of InnerProduct, weight @f$ (num\_output \times \sum_l C_l) @f$ and
 * bias
 * @f$ (num\_output) @f$, so that weights trained on SparseHypercolumn + InnerProduct load as they
 * are; at its locations the output equals theirs.
 */
template <typename Dtype>
class HypercolumnInnerProductLayer : public Layer<Dtype> {
 public:
  explicit HypercolumnInnerProductLayer(const LayerParameter& param) : Layer<Dtype>(param) {}
  virtual void LayerSetUp(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top);
  virtual void Reshape(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top);

  virtual inline const char* type() const { return "HypercolumnInnerProduct"; }
  virtual inline int MinBottomBlobs() const { return 1; }
  virtual inline int ExactNumTopBlobs() const { return 1; }

 protected:
  virtual void CheckBlobCounts(const vector<Blob<Dtype>*>& bottom,
                               const vector<Blob<Dtype>*>& top) {
    CheckNamedBlobCounts(*this, bottom, top);
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
  };
  /// Whether projecting the level before interpolating costs less than the other way round.
  bool ProjectsFirst(const HypercolumnLevel& level) const;
  BilinearGrid GridOnCPU(size_t level) const;
  /// Interpolate `maps` maps of a level onto the output grid; adds where `accumulate`.
  void Upsample(size_t level, int maps, const Dtype* in, Dtype* out, bool accumulate) const;
  /// The adjoint of Upsample; overwrites `in`.
  void UpsampleAdjoint(size_t level, int maps, const Dtype* out, Dtype* in) const;
#ifndef CPU_ONLY
  BilinearGrid GridOnGPU(size_t level) const;
#endif

  int num_output_;
  int channels_;
  int stride_;
  int height_;
  int width_;
  std::vector<HypercolumnLevel> levels_;
  std::vector<Grid> grids_;  // of each level
  Blob<Dtype> workspace_;    // a projected or a sampled level of one image
  Blob<Dtype> ones_;         // one for each output, to sum them; GPU only
};

}  // namespace caffe

#endif  // CAFFE_HYPERCOLUMN_INNER_PRODUCT_LAYER_HPP_
