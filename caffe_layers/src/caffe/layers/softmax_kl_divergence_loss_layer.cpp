#include "caffe/layers/softmax_kl_divergence_loss_layer.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "caffe/util/parallel_for.hpp"

namespace caffe {

template <typename Dtype>
void SoftmaxKLDivergenceLossLayer<Dtype>::LayerSetUp(const vector<Blob<Dtype>*>& bottom,
                                                     const vector<Blob<Dtype>*>& top) {
  LossLayer<Dtype>::LayerSetUp(bottom, top);
  const LossParameter& loss = this->layer_param_.loss_param();
  CHECK(!loss.has_ignore_label()) << "layer " << this->layer_param_.name()
                                  << ": expected no ignore_label, got " << loss.ignore_label()
                                  << ": a row whose target sums to 0 is ignored";
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
    const bool column =
        bottom[2]->num_axes() == 1 || (bottom[2]->num_axes() == 2 && bottom[2]->shape(1) == 1);
    CHECK(column && bottom[2]->shape(0) == bottom[0]->shape(0))
        << "layer " << name << ": weights expected shape (" << bottom[0]->shape(0) << ") or ("
        << bottom[0]->shape(0) << ", 1), got " << bottom[2]->shape_string();
  }
  top[0]->Reshape(vector<int>());
  probabilities_.ReshapeLike(*bottom[0]);
  target_sums_.Reshape(vector<int>{bottom[0]->shape(0)});
  losses_.ReshapeLike(target_sums_);
}

template <typename Dtype>
void SoftmaxKLDivergenceLossLayer<Dtype>::ReportBadRow(const vector<Blob<Dtype>*>& bottom,
                                                       int row) const {
  const string& name = this->layer_param_.name();
  const int bins = bottom[0]->shape(1);
  for (int k = 0; k < bins; ++k) {
    const Dtype logit = bottom[0]->cpu_data()[static_cast<size_t>(row) * bins + k];
    CHECK(std::isfinite(logit)) << "layer " << name << ": logits of row " << row
                                << " expected finite numbers, got " << logit;
  }
  for (int k = 0; k < bins; ++k) {
    const Dtype target = bottom[1]->cpu_data()[static_cast<size_t>(row) * bins + k];
    CHECK(std::isfinite(target) && target >= 0)
        << "layer " << name << ": targets of row " << row
        << " expected a histogram of finite, non-negative numbers, got " << target;
  }
  if (bottom.size() == 3) {
    const Dtype weight = bottom[2]->cpu_data()[row];
    CHECK(std::isfinite(weight)) << "layer " << name << ": weight of row " << row
                                 << " expected a finite number, got " << weight;
  }
  LOG(FATAL) << "layer " << name << ": loss of row " << row << " expected a finite number, got "
             << losses_.cpu_data()[row];
}

template <typename Dtype>
void SoftmaxKLDivergenceLossLayer<Dtype>::Reduce(const vector<Blob<Dtype>*>& bottom,
                                                 Blob<Dtype>* loss) {
  const int rows = bottom[0]->shape(0);
  const Dtype* losses = losses_.cpu_data();
  double total = 0;
  int valid = 0;
  for (int m = 0; m < rows; ++m) {
    if (!std::isfinite(losses[m])) {
      ReportBadRow(bottom, m);
    }
    total += losses[m];
    valid += target_sums_.cpu_data()[m] != 0;
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
  loss->mutable_cpu_data()[0] = static_cast<Dtype>(total / normalizer_);
}

template <typename Dtype>
void SoftmaxKLDivergenceLossLayer<Dtype>::Forward_cpu(const vector<Blob<Dtype>*>& bottom,
                                                      const vector<Blob<Dtype>*>& top) {
  ForwardOn<OnCPU>(bottom, top);
}

template <typename Dtype>
void SoftmaxKLDivergenceLossLayer<Dtype>::Backward_cpu(const vector<Blob<Dtype>*>& top,
                                                       const vector<bool>& propagate_down,
                                                       const vector<Blob<Dtype>*>& bottom) {
  BackwardOn<OnCPU>(top, propagate_down, bottom);
}

#ifdef CPU_ONLY
STUB_GPU(SoftmaxKLDivergenceLossLayer);
#endif

INSTANTIATE_CLASS(SoftmaxKLDivergenceLossLayer);
REGISTER_LAYER_CLASS(SoftmaxKLDivergenceLoss);

}  // namespace caffe
