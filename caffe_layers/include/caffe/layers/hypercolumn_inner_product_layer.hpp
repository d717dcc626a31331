#ifndef CAFFE_HYPERCOLUMN_INNER_PRODUCT_LAYER_HPP_
#define CAFFE_HYPERCOLUMN_INNER_PRODUCT_LAYER_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/layers/layer_checks.hpp"
#include "caffe/proto/caffe.pb.h"
#include "caffe/util/band_forward.hpp"
#include "caffe/util/dense_grid.hpp"

namespace caffe {

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
 * which both devices then make in bands of rows and never store: at stride 1 it would be by far the
 * largest blob of a net. This has no gradient.
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

  // Defined in hypercolumn_inner_product_forward.hpp, for the .cu and tests.
  template <typename Device>
  void ForwardOn(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top,
                 int64_t band_values);
  template <typename Device>
  void FillBandOn(const vector<Blob<Dtype>*>& bottom, int n, int first, int rows, Dtype* out);
  /// What both devices do; defined in hypercolumn_inner_product_backward.hpp, for the .cpp and .cu.
  template <typename Device>
  void BackwardOn(const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
                  const vector<Blob<Dtype>*>& bottom);

  vector<Blob<Dtype>*> LevelBottoms(const vector<Blob<Dtype>*>& bottom) const;
  void CheckHeads(const vector<Blob<Dtype>*>& bottom) const;
  /// Room for a band of one image's largest level, projected or sampled; the CPU needs it backward
  /// only.
  void ReshapeWorkspace(int band_rows);

  int num_output_;
  int heads_;
  int channels_;
  int stride_;
  DenseGrid grid_;
  BandForward<Dtype> bands_;  // CPU only
  Blob<Dtype> workspace_;     // a projected or a sampled level of one image
  Blob<Dtype> hidden_;        // a band of one image's output before the heads; GPU only
  Blob<Dtype> ones_;          // one for each output, to sum them; GPU only
};

}  // namespace caffe

#endif  // CAFFE_HYPERCOLUMN_INNER_PRODUCT_LAYER_HPP_
