#ifndef CAFFE_UTIL_SOFTMAX_DIVERGENCE_HPP_
#define CAFFE_UTIL_SOFTMAX_DIVERGENCE_HPP_

#include <cmath>
#include <cstdint>

#include "caffe/util/host_device.hpp"

namespace caffe {

/// Softmax of one row of logits and its divergence from the target; `index` runs over the rows.
template <typename Dtype>
struct SoftmaxDivergence {
  int bins;
  bool cross_entropy;
  const Dtype* logits;   // (M, K)
  const Dtype* targets;  // (M, K)
  const Dtype* weights;  // (M), or null for ones
  Dtype* probabilities;  // (M, K)
  Dtype* target_sums;    // (M); 0 marks a row that is ignored
  Dtype* losses;         // (M), weighted; NaN where the target is no histogram

  AUTOCOLOR_HOST_DEVICE void operator()(int64_t index) const {
    const Dtype* logit = logits + index * bins;
    const Dtype* target = targets + index * bins;
    Dtype* probability = probabilities + index * bins;
    Dtype largest = logit[0];
    for (int k = 1; k < bins; ++k) {
      largest = logit[k] > largest ? logit[k] : largest;
    }
    double sum = 0, target_sum = 0;
    for (int k = 0; k < bins; ++k) {
      probability[k] = std::exp(logit[k] - largest);
      sum += probability[k];
      target_sum += target[k];
    }
    const double log_sum = largest + std::log(sum);
    double divergence = 0;
    for (int k = 0; k < bins; ++k) {
      probability[k] /= sum;
      if (target[k] > 0) {  // the limit of t log t at 0 is 0
        divergence += target[k] * (log_sum - logit[k]);
        if (!cross_entropy) {
          divergence += target[k] * std::log(static_cast<double>(target[k]));
        }
      } else if (!(target[k] == 0)) {  // negative or NaN
        divergence = target_sum = NAN;
      }
    }
    target_sums[index] = static_cast<Dtype>(target_sum);
    losses[index] =
        target_sum == 0
            ? Dtype(0)
            : static_cast<Dtype>((weights == nullptr ? 1. : weights[index]) * divergence);
  }
};

/// The gradient of one logit; `index` runs over the logits of all rows.
template <typename Dtype>
struct SoftmaxDivergenceGradient {
  int bins;
  Dtype scale;
  const Dtype* targets;
  const Dtype* weights;
  const Dtype* probabilities;
  const Dtype* target_sums;
  Dtype* diff;  // (M, K)

  AUTOCOLOR_HOST_DEVICE void operator()(int64_t index) const {
    const int64_t row = index / bins;
    const Dtype target_sum = target_sums[row];
    const Dtype factor = scale * (weights == nullptr ? Dtype(1) : weights[row]);
    diff[index] =
        target_sum == 0 ? Dtype(0) : factor * (probabilities[index] * target_sum - targets[index]);
  }
};

}  // namespace caffe

#endif  // CAFFE_UTIL_SOFTMAX_DIVERGENCE_HPP_
