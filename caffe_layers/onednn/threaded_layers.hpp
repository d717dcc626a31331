#ifndef CAFFE_THREADED_LAYERS_HPP_
#define CAFFE_THREADED_LAYERS_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layers/pooling_layer.hpp"
#include "caffe/layers/relu_layer.hpp"

namespace caffe {

/**
 * @brief Max pooling as PoolingLayer's, bit by bit, on all cores.
 *
 * Beside oneDNN's convolutions, Caffe's own pooling on one core takes a fifth of VGG-16's time.
 * Other methods than MAX, and a mask as second top, run in PoolingLayer.
 */
template <typename Dtype>
class ThreadedPoolingLayer : public PoolingLayer<Dtype> {
 public:
  explicit ThreadedPoolingLayer(const LayerParameter& param) : PoolingLayer<Dtype>(param) {}

 protected:
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top);
  virtual void Backward_cpu(const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
                            const vector<Blob<Dtype>*>& bottom);

 private:
  bool IsThreaded(const vector<Blob<Dtype>*>& top) const {
    return top.size() == 1 && this->layer_param_.pooling_param().pool() == PoolingParameter::MAX;
  }
};

/// @brief ReLULayer, bit by bit, on all cores.
template <typename Dtype>
class ThreadedReLULayer : public ReLULayer<Dtype> {
 public:
  explicit ThreadedReLULayer(const LayerParameter& param) : ReLULayer<Dtype>(param) {}

 protected:
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top);
  virtual void Backward_cpu(const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
                            const vector<Blob<Dtype>*>& bottom);
};

}  // namespace caffe

#endif  // CAFFE_THREADED_LAYERS_HPP_
