#ifndef CAFFE_HYPERCOLUMN_TAP_LAYER_HPP_
#define CAFFE_HYPERCOLUMN_TAP_LAYER_HPP_

#include <vector>

#include "caffe/layers/sparse_hypercolumn_layer.hpp"

namespace caffe {

/**
 * @brief One level of sparse hypercolumns, read and differentiated in place (section 3.5).
 *
 * A chain of taps computes what SparseHypercolumn does, whose bottoms other layers read too: there
 * Caffe puts a Split, which keeps two further gradients of every level. A tap stands in the stream
 * instead, hands the level on, and adds its gradient to the one that comes back.
 *
 * @param bottom input Blob vector (length 3)
 *   -# @f$ (N P \times K) @f$ or @f$ (M \times K) @f$ hypercolumns, of which the layer writes the
 * columns [first_channel, first_channel + C)
 *   -# @f$ (N \times C \times H \times W) @f$ feature maps of the level
 *   -# @f$ (N \times P \times 2) @f$ or @f$ (M \times 3) @f$ locations, as of SparseHypercolumn.
 * Gets no gradient.
 * @param top output Blob vector (length 1 or 2), both in place
 *   -# the hypercolumns
 *   -# the feature maps, for the layers that come next. Without them the tap is the level's only
 *      reader, and its gradient is the level's whole gradient. With them some layer has to read
 *      them, since the tap adds to the gradient that it finds.
 *
 * The parameters are SparseHypercolumn's, for one level.
 */
template <typename Dtype>
class HypercolumnTapLayer : public SparseHypercolumnLayer<Dtype> {
 public:
  explicit HypercolumnTapLayer(const LayerParameter& param)
      : SparseHypercolumnLayer<Dtype>(param) {}
  virtual void Reshape(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top);

  virtual inline const char* type() const { return "HypercolumnTap"; }
  virtual inline int MinBottomBlobs() const { return -1; }
  virtual inline int ExactNumBottomBlobs() const { return 3; }
  virtual inline int ExactNumTopBlobs() const { return -1; }
  virtual inline int MinTopBlobs() const { return 1; }
  virtual inline int MaxTopBlobs() const { return 2; }
  virtual inline bool AllowForceBackward(const int bottom_index) const { return bottom_index < 2; }

 protected:
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top);
  virtual void Forward_gpu(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top);
  virtual void Backward_cpu(const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
                            const vector<Blob<Dtype>*>& bottom);
  virtual void Backward_gpu(const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
                            const vector<Blob<Dtype>*>& bottom);
};

}  // namespace caffe

#endif  // CAFFE_HYPERCOLUMN_TAP_LAYER_HPP_
