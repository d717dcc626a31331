#ifndef CAFFE_INNER_PRODUCT_WEIGHTS_LAYER_HPP_
#define CAFFE_INNER_PRODUCT_WEIGHTS_LAYER_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/layers/layer_checks.hpp"
#include "caffe/proto/caffe.pb.h"

namespace caffe {

/**
 * @brief The weights of an InnerProduct as blobs, for a layer that takes them as bottoms.
 *
 * @param top output Blob vector (length 2)
 *   -# @f$ (num\_output \times num\_input) @f$ weight
 *   -# @f$ (num\_output) @f$ bias
 *
 * Its blobs have InnerProduct's shapes, so that a layer of an InnerProduct's name loads its
 * weights. The tops are these blobs: nothing is copied, and gradients written to the tops are those
 * of the weights.
 */
template <typename Dtype>
class InnerProductWeightsLayer : public NamedBlobCounts<Layer, Dtype> {
 public:
  explicit InnerProductWeightsLayer(const LayerParameter& param)
      : NamedBlobCounts<Layer, Dtype>(param) {}
  virtual void LayerSetUp(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top);
  virtual void Reshape(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top);

  virtual inline const char* type() const { return "InnerProductWeights"; }
  virtual inline int ExactNumBottomBlobs() const { return 0; }
  virtual inline int ExactNumTopBlobs() const { return 2; }

 protected:
  virtual void Forward_cpu(const vector<Blob<Dtype>*>&, const vector<Blob<Dtype>*>&) {}
  virtual void Forward_gpu(const vector<Blob<Dtype>*>&, const vector<Blob<Dtype>*>&) {}
  virtual void Backward_cpu(const vector<Blob<Dtype>*>&, const vector<bool>&,
                            const vector<Blob<Dtype>*>&) {}
  virtual void Backward_gpu(const vector<Blob<Dtype>*>&, const vector<bool>&,
                            const vector<Blob<Dtype>*>&) {}
};

}  // namespace caffe

#endif  // CAFFE_INNER_PRODUCT_WEIGHTS_LAYER_HPP_
