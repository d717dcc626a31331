#ifndef CAFFE_HYPERCOLUMN_INNER_PRODUCT_LAYER_HPP_
#define CAFFE_HYPERCOLUMN_INNER_PRODUCT_LAYER_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/proto/caffe.pb.h"
#include "caffe/util/hypercolumn.hpp"

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
 * The blobs have the shapes of InnerProduct, weight @f$ (num\_output \times \sum_l C_l) @f$ and bias
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
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top);
  virtual void Forward_gpu(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top);
  virtual void Backward_cpu(const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
                            const vector<Blob<Dtype>*>& bottom);
  virtual void Backward_gpu(const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
                            const vector<Blob<Dtype>*>& bottom);

  /// Whether projecting the level before interpolating costs less than the other way round.
  bool ProjectsFirst(const HypercolumnLevel& level) const;
  /// Interpolate `maps` maps of `level` onto the output grid; adds where `accumulate`.
  void Upsample(const HypercolumnLevel& level, int maps, const Dtype* in, Dtype* out,
                bool accumulate) const;
  /// The adjoint of Upsample; overwrites `in`.
  void UpsampleAdjoint(const HypercolumnLevel& level, int maps, const Dtype* out, Dtype* in) const;

  int num_output_;
  int channels_;
  int stride_;
  int height_;
  int width_;
  std::vector<HypercolumnLevel> levels_;
  Blob<Dtype> workspace_;  // a projected or a sampled level of one image
};

}  // namespace caffe

#endif  // CAFFE_HYPERCOLUMN_INNER_PRODUCT_LAYER_HPP_
