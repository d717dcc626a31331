#ifndef CAFFE_SOFTMAX_KL_DIVERGENCE_LOSS_LAYER_HPP_
#define CAFFE_SOFTMAX_KL_DIVERGENCE_LOSS_LAYER_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/layers/layer_checks.hpp"
#include "caffe/layers/loss_layer.hpp"
#include "caffe/proto/caffe.pb.h"

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
class SoftmaxKLDivergenceLossLayer : public LossLayer<Dtype> {
 public:
  explicit SoftmaxKLDivergenceLossLayer(const LayerParameter& param) : LossLayer<Dtype>(param) {}
  virtual void LayerSetUp(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top);
  virtual void Reshape(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top);

  virtual inline const char* type() const { return "SoftmaxKLDivergenceLoss"; }
  virtual inline int ExactNumBottomBlobs() const { return -1; }
  virtual inline int MinBottomBlobs() const { return 2; }
  virtual inline int MaxBottomBlobs() const { return 3; }
  virtual inline bool AllowForceBackward(const int bottom_index) const { return bottom_index == 0; }

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

  /// The loss, from the rows' losses on the host.
  void Reduce(const vector<Blob<Dtype>*>& bottom, Blob<Dtype>* loss);
  void ReportBadRow(const vector<Blob<Dtype>*>& bottom, int row) const;
  void RefuseOtherGradients(const vector<bool>& propagate_down) const;

  LossParameter_NormalizationMode normalization_;
  bool cross_entropy_;
  double normalizer_;
  Blob<Dtype> probabilities_;  // softmax of the logits
  Blob<Dtype> target_sums_;    // of each row; 0 marks an ignored one
  Blob<Dtype> losses_;         // of each row, weighted
};

}  // namespace caffe

#endif  // CAFFE_SOFTMAX_KL_DIVERGENCE_LOSS_LAYER_HPP_
