#ifndef CAFFE_SOFTMAX_KL_DIVERGENCE_LOSS_LAYER_HPP_
#define CAFFE_SOFTMAX_KL_DIVERGENCE_LOSS_LAYER_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/layers/layer_checks.hpp"
#include "caffe/layers/loss_layer.hpp"
#include "caffe/proto/caffe.pb.h"
#include "caffe/util/softmax_divergence.hpp"

namespace caffe {

/**
 * @brief KL divergence between target histograms and the softmax of logits (Eq. 2 and 3).
 *
 * @param bottom input Blob vector (length 2 or 3)
 *   -# @f$ (M \times K) @f$ logits
 *   -# @f$ (M \times K) @f$ targets, rows that sum to 1; a row that sums to 0 is ignored
 *   -# @f$ (M) @f$ or @f$ (M \times 1) @f$ weight of each row, optional (y_C of Eq. 3)
 * @param top output Blob vector (length 1)
 *   -# scalar: @f$ \frac{1}{Z} \sum_m w_m D_{KL}(t_m \| softmax(s_m)) @f$
 *
 * Z follows loss_param.normalization as in Caffe's losses: VALID (default) counts the rows that are
 * not ignored, FULL and BATCH_SIZE all rows, NONE is 1. Only the logits get a gradient. A target
 * that is negative or NaN, and logits or weights that are not finite, end the run with a message.
 */
template <typename Dtype>
class SoftmaxKLDivergenceLossLayer : public NamedBlobCounts<LossLayer, Dtype> {
 public:
  explicit SoftmaxKLDivergenceLossLayer(const LayerParameter& param)
      : NamedBlobCounts<LossLayer, Dtype>(param) {}
  virtual void LayerSetUp(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top);
  virtual void Reshape(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top);

  virtual inline const char* type() const { return "SoftmaxKLDivergenceLoss"; }
  virtual inline int ExactNumBottomBlobs() const { return -1; }
  virtual inline int MinBottomBlobs() const { return 2; }
  virtual inline int MaxBottomBlobs() const { return 3; }
  virtual inline bool AllowForceBackward(const int bottom_index) const { return bottom_index == 0; }

 protected:
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top);
  virtual void Forward_gpu(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top);
  virtual void Backward_cpu(const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
                            const vector<Blob<Dtype>*>& bottom);
  virtual void Backward_gpu(const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
                            const vector<Blob<Dtype>*>& bottom);

  /// What both devices do: a thread takes a row forward, and a logit backward.
  template <typename Device>
  void ForwardOn(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top) {
    const SoftmaxDivergence<Dtype> divergence = {bottom[0]->shape(1),
                                                 cross_entropy_,
                                                 Device::Data(*bottom[0]),
                                                 Device::Data(*bottom[1]),
                                                 RowWeights<Device>(bottom),
                                                 Device::MutableData(&probabilities_),
                                                 Device::MutableData(&target_sums_),
                                                 Device::MutableData(&losses_)};
    Device::Run(bottom[0]->shape(0), divergence);
    Reduce(bottom, top[0]);
  }
  template <typename Device>
  void BackwardOn(const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
                  const vector<Blob<Dtype>*>& bottom) {
    for (size_t i = 1; i < bottom.size(); ++i) {
      RejectGradient(*this, propagate_down, i, "only the logits (bottom 0) have a gradient");
    }
    if (!Propagates(propagate_down, 0)) {
      return;
    }
    const SoftmaxDivergenceGradient<Dtype> gradient = {
        bottom[0]->shape(1),           static_cast<Dtype>(top[0]->cpu_diff()[0] / normalizer_),
        Device::Data(*bottom[1]),      RowWeights<Device>(bottom),
        Device::Data(probabilities_),  Device::Data(target_sums_),
        Device::MutableDiff(bottom[0])};
    Device::Run(bottom[0]->count(), gradient);
  }
  template <typename Device>
  static const Dtype* RowWeights(const vector<Blob<Dtype>*>& bottom) {
    return bottom.size() == 3 ? Device::Data(*bottom[2]) : nullptr;
  }

  /// The loss, from the rows' losses on the host.
  void Reduce(const vector<Blob<Dtype>*>& bottom, Blob<Dtype>* loss);
  void ReportBadRow(const vector<Blob<Dtype>*>& bottom, int row) const;

  LossParameter_NormalizationMode normalization_;
  bool cross_entropy_;
  double normalizer_;
  Blob<Dtype> probabilities_;  // softmax of the logits
  Blob<Dtype> target_sums_;    // of each row; 0 marks an ignored one
  Blob<Dtype> losses_;         // of each row, weighted
};

}  // namespace caffe

#endif  // CAFFE_SOFTMAX_KL_DIVERGENCE_LOSS_LAYER_HPP_
