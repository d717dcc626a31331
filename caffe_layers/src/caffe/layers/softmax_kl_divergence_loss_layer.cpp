#include "caffe/layers/softmax_kl_divergence_loss_layer.hpp"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <vector>

#include "caffe/util/math_functions.hpp"

namespace caffe {

template <typename Dtype>
void SoftmaxKLDivergenceLossLayer<Dtype>::LayerSetUp(const vector<Blob<Dtype>*>& bottom,
                                                     const vector<Blob<Dtype>*>& top) {
  LossLayer<Dtype>::LayerSetUp(bottom, top);
  const LossParameter& loss = this->layer_param_.loss_param();
  CHECK(!loss.has_ignore_label()) << "layer " << this->layer_param_.name()
                                  << ": ignore_label has no meaning for histograms; a row whose "
                                  << "target sums to 0 is ignored";
  if (!loss.has_normalization() && loss.has_normalize()) {  // Caffe's older spelling
    normalization_ = loss.normalize() ? LossParameter_NormalizationMode_VALID
                                      : LossParameter_NormalizationMode_BATCH_SIZE;
  } else {
    normalization_ = loss.normalization();
  }
  cross_entropy_ = this->layer_param_.softmax_kl_divergence_loss_param().divergence() ==
                   SoftmaxKLDivergenceLossParameter_Divergence_CROSS_ENTROPY;
}

template <typename Dtype>
void SoftmaxKLDivergenceLossLayer<Dtype>::Reshape(const vector<Blob<Dtype>*>& bottom,
                                                  const vector<Blob<Dtype>*>& top) {
  const string& name = this->layer_param_.name();
  CHECK(bottom[0]->num_axes() == 2 && bottom[0]->count() > 0)
      << "layer " << name << ": logits expected shape (M, K), got " << bottom[0]->shape_string();
  CHECK(bottom[1]->shape() == bottom[0]->shape())
      << "layer " << name << ": targets expected the shape of the logits "
      << bottom[0]->shape_string() << ", got " << bottom[1]->shape_string();
  if (bottom.size() == 3) {
    const bool column = bottom[2]->num_axes() == 1 ||
                        (bottom[2]->num_axes() == 2 && bottom[2]->shape(1) == 1);
    CHECK(column && bottom[2]->shape(0) == bottom[0]->shape(0))
        << "layer " << name << ": weights expected shape (" << bottom[0]->shape(0) << ") or ("
        << bottom[0]->shape(0) << ", 1), got " << bottom[2]->shape_string();
  }
  top[0]->Reshape(vector<int>());
  probabilities_.ReshapeLike(*bottom[0]);
  target_sums_.resize(bottom[0]->shape(0));
}

template <typename Dtype>
void SoftmaxKLDivergenceLossLayer<Dtype>::Forward_cpu(const vector<Blob<Dtype>*>& bottom,
                                                      const vector<Blob<Dtype>*>& top) {
  const int rows = bottom[0]->shape(0), bins = bottom[0]->shape(1);
  const Dtype* weights = bottom.size() == 3 ? bottom[2]->cpu_data() : nullptr;
  Dtype* probabilities = probabilities_.mutable_cpu_data();
  double total = 0;
  int valid = 0;
  for (int m = 0; m < rows; ++m) {
    const Dtype* logit = bottom[0]->cpu_data() + static_cast<size_t>(m) * bins;
    const Dtype* target = bottom[1]->cpu_data() + static_cast<size_t>(m) * bins;
    Dtype* probability = probabilities + static_cast<size_t>(m) * bins;
    const Dtype largest = *std::max_element(logit, logit + bins);
    double sum = 0;
    for (int k = 0; k < bins; ++k) {
      probability[k] = std::exp(logit[k] - largest);
      sum += probability[k];
    }
    const double log_sum = largest + std::log(sum);
    double divergence = 0, target_sum = 0;
    for (int k = 0; k < bins; ++k) {
      probability[k] /= sum;
      target_sum += target[k];
      if (target[k] > 0) {  // the limit of t log t at 0 is 0
        divergence += target[k] * (log_sum - logit[k]);
        if (!cross_entropy_) {
          divergence += target[k] * std::log(double(target[k]));
        }
      }
    }
    target_sums_[m] = target_sum;
    if (target_sum == 0) {
      continue;
    }
    ++valid;
    total += (weights ? weights[m] : Dtype(1)) * divergence;
  }
  double normalizer = 1;
  switch (normalization_) {
    case LossParameter_NormalizationMode_VALID:
      normalizer = valid;
      break;
    case LossParameter_NormalizationMode_FULL:
    case LossParameter_NormalizationMode_BATCH_SIZE:
      normalizer = rows;
      break;
    case LossParameter_NormalizationMode_NONE:
      break;
  }
  normalizer_ = std::max(1.0, normalizer);  // a batch without a valid row has no loss
  top[0]->mutable_cpu_data()[0] = total / normalizer_;
}

template <typename Dtype>
void SoftmaxKLDivergenceLossLayer<Dtype>::Backward_cpu(const vector<Blob<Dtype>*>& top,
                                                       const vector<bool>& propagate_down,
                                                       const vector<Blob<Dtype>*>& bottom) {
  for (size_t i = 1; i < bottom.size(); ++i) {
    CHECK(!propagate_down[i]) << "layer " << this->layer_param_.name() << ": no gradient to bottom "
                              << i << " (targets and weights) is defined";
  }
  if (!propagate_down[0]) {
    return;
  }
  const int rows = bottom[0]->shape(0), bins = bottom[0]->shape(1);
  const Dtype* weights = bottom.size() == 3 ? bottom[2]->cpu_data() : nullptr;
  const Dtype scale = top[0]->cpu_diff()[0] / normalizer_;
  for (int m = 0; m < rows; ++m) {
    const Dtype* probability = probabilities_.cpu_data() + static_cast<size_t>(m) * bins;
    const Dtype* target = bottom[1]->cpu_data() + static_cast<size_t>(m) * bins;
    Dtype* diff = bottom[0]->mutable_cpu_diff() + static_cast<size_t>(m) * bins;
    const Dtype factor = target_sums_[m] == 0 ? Dtype(0) : scale * (weights ? weights[m] : 1);
    for (int k = 0; k < bins; ++k) {
      diff[k] = factor * (probability[k] * target_sums_[m] - target[k]);
    }
  }
}

#ifdef CPU_ONLY
STUB_GPU(SoftmaxKLDivergenceLossLayer);
#endif

INSTANTIATE_CLASS(SoftmaxKLDivergenceLossLayer);
REGISTER_LAYER_CLASS(SoftmaxKLDivergenceLoss);

}  // namespace caffe
